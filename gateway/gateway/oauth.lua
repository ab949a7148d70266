-- The endpoints of OAuth 2.0 in the dialect that its libraries speak: forms go in, its own JSON and its own errors come out
-- (RFC 6749, sections 2.3.1, 4.4, 5 and 6; RFC 7662, section 2). Behind them are the RPCs of the auth service, which the
-- transcoder finds by the path and the JSON that this leaves; nothing is decided here.

local NAMESPACE = "geomesh.oauth"
local FORM = "application/x-www-form-urlencoded"

-- By the path without its query: which members a form may have, and under which path the RPC is.
local ENDPOINTS = {
  ["/oauth2/token"] = function(form)
    if form.grant_type == "refresh_token" then return "/v1/auth/refresh", {"refresh_token"} end
    return "/v1/auth/token", {"grant_type", "client_id", "client_secret", "api_key", "scope"}
  end,
  ["/oauth2/introspect"] = function() return "/v1/auth/introspect", {"token", "token_type_hint"} end,
}

local RENAMED = {
  accessToken = "access_token", tokenType = "token_type", expiresInSeconds = "expires_in",
  refreshToken = "refresh_token", refreshExpiresInSeconds = "refresh_expires_in",
}

local function unescaped(text)
  if text:gsub("%%%x%x", ""):find("%", 1, true) then return nil end
  return (text:gsub("+", " "):gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

-- Returns the members of a form, or nil and what is wrong with it.
local function parsed(text)
  local form = {}
  for pair in text:gmatch("[^&]+") do
    local name, value = pair:match("^([^=]*)=?(.*)$")
    name, value = unescaped(name), unescaped(value)
    if name == nil or value == nil then return nil, "the form is not percent-encoded" end
    if form[name] ~= nil then return nil, "a member of the form is there twice" end
    form[name] = value
  end
  return form
end

local function from_base64(text)
  local letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
  local bytes, bits, held = {}, 0, 0
  for letter in text:gsub("=+$", ""):gmatch(".") do
    local value = letters:find(letter, 1, true)
    if value == nil then return nil end
    bits, held = bits * 64 + value - 1, held + 6
    if held >= 8 then
      held = held - 8
      bytes[#bytes + 1] = string.char(math.floor(bits / 2 ^ held))
      bits = bits % 2 ^ held
    end
  end
  return table.concat(bytes)
end

-- Returns id and secret of a client that proves itself in the header, or nil and what is wrong.
local function from_header(authorization)
  local id, secret = (from_base64(authorization:match("^%a+%s+(%S+)%s*$") or "") or ""):match("^([^:]*):(.*)$")
  id, secret = id and unescaped(id), secret and unescaped(secret)
  if not id or not secret then return nil, "the header authorization names no client and secret" end
  return id, secret
end

local function quoted(text)
  return '"' .. text:gsub('[%c"\\]', function(letter) return string.format("\\u%04x", letter:byte()) end) .. '"'
end

function envoy_on_request(handle)
  local path = handle:headers():get(":path")
  local content_type = handle:headers():get("content-type") or ""
  local endpoint = ENDPOINTS[path]
  if endpoint == nil or content_type:find("^application/grpc") then return end
  local body = handle:body()
  local headers = handle:headers() -- what was fetched before the body came is no longer good
  local form, flaw = {}, nil
  if headers:get(":method") ~= "POST" then
    flaw = "the method must be POST"
  elseif content_type:lower():match("^[^; ]*") ~= FORM then
    flaw = "the content type must be " .. FORM
  elseif body ~= nil then
    form, flaw = parsed(tostring(body:getBytes(0, body:length())))
  end
  local authorization = headers:get("authorization") or ""
  if path == "/oauth2/token" and flaw == nil and authorization:lower():find("^basic ") then
    local id, secret = from_header(authorization)
    if id == nil then
      flaw = secret
    elseif form.client_secret ~= nil or (form.client_id or id) ~= id then
      flaw = "a client proves itself in one way: in the header or in the form"
    else
      form.client_id, form.client_secret = id, secret
    end
  end
  if path == "/oauth2/token" then headers:remove("authorization") end
  local target, members = endpoint(form or {})
  local found = {}
  for _, name in ipairs(flaw == nil and members or {}) do
    if form[name] ~= nil then found[#found + 1] = quoted(name) .. ":" .. quoted(form[name]) end
  end
  local metadata = handle:streamInfo():dynamicMetadata()
  metadata:set(NAMESPACE, "path", path)
  metadata:set(NAMESPACE, "grant", (form or {}).grant_type or "")
  metadata:set(NAMESPACE, "flaw", flaw or "")
  headers:replace(":path", target)
  if body ~= nil then
    headers:replace("content-type", "application/json")
    headers:replace("content-length", tostring(body:setBytes("{" .. table.concat(found, ",") .. "}")))
  end
end

-- Returns the status and the code of an error, from what the API says of it.
local function error_of(status, json, asked)
  local field = json:match('"field":"([^"]*)"') or ""
  if status == "429" or status == "503" or status == "504" then return status, "temporarily_unavailable" end
  if status:sub(1, 1) == "5" then return status, "server_error" end
  if asked.path == "/oauth2/introspect" then return status, status == "401" and "invalid_client" or "invalid_request" end
  if asked.flaw == "" and status == "401" then
    if asked.grant == "refresh_token" then return "400", "invalid_grant" end
    return status, "invalid_client"
  end
  if asked.flaw == "" and field == "grant_type" and asked.grant ~= "" then return status, "unsupported_grant_type" end
  if asked.flaw == "" and field:find("^scope") then return status, "invalid_scope" end
  return status, "invalid_request"
end

-- Returns what a person is told. The standard allows neither quotes nor backslashes, and no letters beyond ASCII.
local function described(json)
  local plain = json:gsub('\\"', "'"):gsub("\\u%x%x%x%x", " "):gsub("\\.", " ")
  return ((plain:match('"message":"([^"]*)"') or ""):gsub("[^ -~]", "?"))
end

function envoy_on_response(handle)
  local asked = handle:streamInfo():dynamicMetadata():get(NAMESPACE)
  if asked == nil then return end
  local body = handle:body()
  local headers = handle:headers()
  headers:replace("cache-control", "no-store")
  if body == nil then return end
  local json = tostring(body:getBytes(0, body:length()))
  local status = headers:get(":status")
  if status == "200" then
    json = json:gsub('"(%a+)":', function(name) return RENAMED[name] and quoted(RENAMED[name]) .. ":" end)
  else
    local description = asked.flaw ~= "" and asked.flaw or described(json)
    local code
    status, code = error_of(status, json, asked)
    json = '{"error":' .. quoted(code) .. ',"error_description":' .. quoted(description) .. "}"
    headers:replace(":status", status)
    if code == "invalid_client" and asked.path == "/oauth2/token" then
      headers:replace("www-authenticate", 'Basic realm="geomesh"')
    end
  end
  headers:replace("content-type", "application/json")
  headers:replace("content-length", tostring(body:setBytes(json)))
end
