"""The signed examples of RFC 7515 and RFC 7520, and what an attacker would make of them."""

import json
from base64 import urlsafe_b64decode
from collections.abc import Mapping

from tests.meshkit.forging import base64url, dump

_PAYLOAD = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"

OCT = {
    "kty": "oct",
    "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
}
RSA = {
    "kty": "RSA",
    "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2"
    "lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2"
    "R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW"
    "9gb54h4FRWyuXpoQ",
    "e": "AQAB",
}
EC = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}

HS256 = f"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{_PAYLOAD}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
"""RFC 7515, appendix A.1."""
RS256 = (
    f"eyJhbGciOiJSUzI1NiJ9.{_PAYLOAD}.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_"
    "lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07"
    "Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98"
    "rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
)
"""RFC 7515, appendix A.2."""
ES256 = (
    f"eyJhbGciOiJFUzI1NiJ9.{_PAYLOAD}."
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
)
"""RFC 7515, appendix A.3."""
_HOBBIT_PAYLOAD = (
    "SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB0aGUgcm9hZCwgYW5k"
    "IGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUgeW91IG1pZ2h0IGJlIHN3ZXB0IG9mZiB0by4"
)
HOBBIT_OCT = {"kty": "oct", "k": "hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg"}
HOBBIT_HS256 = (
    "eyJhbGciOiJIUzI1NiIsImtpZCI6IjAxOGMwYWU1LTRkOWItNDcxYi1iZmQ2LWVlZjMxNGJjNzAzNyJ9."
    f"{_HOBBIT_PAYLOAD}.s0h6KThzkfBBBkLspW1h84VsJZFTsPPqMDA7g1Md7p0"
)
"""RFC 7520, section 4.4."""

HOBBIT_RSA = {
    "kty": "RSA",
    "n": (
        "n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmSCpMaJMRBSFKr"
        "Kb2wqVwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-OfVfHd1E6cS6M1FZcD1NNLYD5l"
        "FHpPI9bTwJlsde3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKwuCLqKnS2BYwdq_mzSnbLY7h_qixoR7jig3__"
        "kRhuaxwUkRz5iaiQkqgc5gHdrNP5zw"
    ),
    "e": "AQAB",
}
HOBBIT_EC = {
    "kty": "EC",
    "crv": "P-521",
    "x": "AHKZLLOsCOzz5cY97ewNUajB957y-C-U88c3v13nmGZx6sYl_oJXu9A5RkTKqjqvjyekWF-7ytDyRXYgCF5cj0Kt",
    "y": "AdymlHvOiLxXkEhayXQnNCvDX4h9htZaCJN34kfmC6pV5OhQHiraVySsUdaQkAgDPrwQrJmbnX9cwlGfP-HqHZR1",
}
_BILBO = "ImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9"
HOBBIT_RS256 = (
    f"eyJhbGciOiJSUzI1NiIs{_BILBO}.{_HOBBIT_PAYLOAD}."
    "MRjdkly7_-oTPTS3AXP41iQIGKa80A0ZmTuV5MEaHoxnW2e5CZ5NlKtainoFmKZopdHM1O2U4mwzJdQx996ivp83xuglII7PNDi84wnB"
    "-BDkoBwA78185hX-Es4JIwmDLJK3lfWRa-XtL0RnltuYv746iYTh_qHRD68BNt1uSNCrUCTJDt5aAE6x8wW1Kt9eRo4QPocSadnHXFxn"
    "t8Is9UzpERV0ePPQdLuW3IS_de3xyIrDaLGdjluPxUAhb6L2aXic1U12podGU0KLUQSE_oI-ZnmKJ3F4uOZDnd6QZWJushZ41Axf_fcI"
    "e8u9ipH84ogoree7vjbU5y18kDquDg"
)
"""RFC 7520, section 4.1."""
HOBBIT_PS384 = (
    f"eyJhbGciOiJQUzM4NCIs{_BILBO}.{_HOBBIT_PAYLOAD}."
    "cu22eBqkYDKgIlTpzDXGvaFfz6WGoz7fUDcfT0kkOy42miAh2qyBzk1xEsnk2IpN6-tPid6VrklHkqsGqDqHCdP6O8TTB5dDDItllVo6"
    "_1OLPpcbUrhiUSMxbbXUvdvWXzg-UD8biiReQFlfz28zGWVsdiNAUf8ZnyPEgVFn442ZdNqiVJRmBqrYRXe8P_ijQ7p8Vdz0TTrxUeT3"
    "lm8d9shnr2lfJT8ImUjvAA2Xez2Mlp8cBE5awDzT0qI0n6uiP1aCN_2_jLAeQTlqRHtfa64QQSUmFAAjVKPbByi7xho0uTOcbH510a6G"
    "YmJUAfmWjwZ6oD4ifKo8DYM-X72Eaw"
)
"""RFC 7520, section 4.2."""
HOBBIT_ES512 = (
    f"eyJhbGciOiJFUzUxMiIs{_BILBO}.{_HOBBIT_PAYLOAD}."
    "AE_R_YZCChjn4791jSQCrdPZCNYqHXCTZH0-JZGYNlaAjP2kqaluUIIUnC9qvbu9Plon7KRTzoNEuT4Va2cmL1eJAQy3mtPBu_u_sDDy"
    "YjnAMDxXPn7XrT0lw-kvAD890jl8e2puQens_IEKBpHABlsbEPX6sFY8OcGDqoRuBomu9xQ2"
)
"""RFC 7520, section 4.3."""

EC_521 = {
    "kty": "EC",
    "crv": "P-521",
    "x": "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk",
    "y": "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2",
}
ES512 = (
    "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA."
    "AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2Y"
    "BJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn"
)
"""RFC 7515, appendix A.4."""

VECTORS: Mapping[str, tuple[str, Mapping[str, str], str]] = {
    "7515 A.1": (HS256, OCT, "HS256"),
    "7515 A.2": (RS256, RSA, "RS256"),
    "7515 A.3": (ES256, EC, "ES256"),
    "7515 A.4": (ES512, EC_521, "ES512"),
    "7520 4.1": (HOBBIT_RS256, HOBBIT_RSA, "RS256"),
    "7520 4.2": (HOBBIT_PS384, HOBBIT_RSA, "PS384"),
    "7520 4.3": (HOBBIT_ES512, HOBBIT_EC, "ES512"),
    "7520 4.4": (HOBBIT_HS256, HOBBIT_OCT, "HS256"),
}
"""Each token with its key and algorithm."""

_HOBBIT_MAC = HOBBIT_HS256.split(".")[2]
_HOBBIT_HEADER = HOBBIT_HS256.split(".", maxsplit=1)[0]
_KID = {"kid": "018c0ae5-4d9b-471b-bfd6-eef314bc7037"}
OTHER_FORMS: Mapping[str, str] = {
    "7515 A.5, unsecured": f"eyJhbGciOiJub25lIn0.{_PAYLOAD}.",
    "7515 A.6, general JSON": json.dumps(
        {
            "payload": _PAYLOAD,
            "signatures": [
                {
                    "protected": "eyJhbGciOiJSUzI1NiJ9",
                    "header": {"kid": "2010-12-29"},
                    "signature": RS256.split(".")[2],
                },
                {
                    "protected": "eyJhbGciOiJFUzI1NiJ9",
                    "header": {"kid": "e9bc097a-ce51-4036-9562-d2ade882db0d"},
                    "signature": ES256.split(".")[2],
                },
            ],
        }
    ),
    "7515 A.7, flattened JSON": json.dumps(
        {
            "payload": _PAYLOAD,
            "protected": "eyJhbGciOiJFUzI1NiJ9",
            "header": {"kid": "e9bc097a-ce51-4036-9562-d2ade882db0d"},
            "signature": ES256.split(".")[2],
        }
    ),
    "7515 E, an unknown extension": (
        "eyJhbGciOiJub25lIiwNCiAiY3JpdCI6WyJodHRwOi8vZXhhbXBsZS5jb20vVU5ERUZJTkVEIl0sDQogImh0dHA6Ly9leGFtcGxlLmNvbS9V"
        "TkRFRklORUQiOnRydWUNCn0.RkFJTA."
    ),
    "7520 4.5, detached": f"{_HOBBIT_HEADER}..{_HOBBIT_MAC}",
    "7520 4.5, detached JSON": json.dumps({"protected": _HOBBIT_HEADER, "signature": _HOBBIT_MAC}),
    "7520 4.7, an unprotected header": json.dumps(
        {
            "payload": _HOBBIT_PAYLOAD,
            "header": {"alg": "HS256"} | _KID,
            "signature": "xuLifqLGiblpv9zBpuZczWhNj1gARaLV3UxvxhJxZuk",
        }
    ),
    "7520 4.8, several signatures": json.dumps(
        {
            "payload": _HOBBIT_PAYLOAD,
            "signatures": [
                {
                    "header": {"alg": "ES512", "kid": "bilbo.baggins@hobbiton.example"},
                    "signature": (
                        "ARcVLnaJJaUWG8fG-8t5BREVAuTY8n8YHjwDO1muhcdCoFZFFjfISu0Cdkn9Ybdlmi54ho0x924DUz8sK7ZXkhc7AFM8ObLfTvNCrqcI"
                        "3Jkl2U5IX3utNhODH6v7xgy1Qahsn0fyb4zSAkje8bAWz4vIfj5pCMYxxm4fgV3q7ZYhm5eD"
                    ),
                },
                {"protected": _HOBBIT_HEADER, "signature": _HOBBIT_MAC},
            ],
        }
    ),
}
"""What the same documents also show, none of which is a signed token in the one form that a JWT has."""


def changed(token: str) -> dict[str, str]:
    """Returns what is no signature by the token's key, by what was done to it."""
    header, payload, signature = token.split(".")
    raw = urlsafe_b64decode(signature + "==")
    flipped = bytes([raw[0] ^ 1]) + raw[1:]
    half = len(raw) // 2
    return {
        "no signature": f"{header}.{payload}.",
        "no signature segment": f"{header}.{payload}",
        "a flipped bit": f"{header}.{payload}.{base64url(flipped)}",
        "halves swapped": f"{header}.{payload}.{base64url(raw[half:] + raw[:half])}",
        "cut short": f"{header}.{payload}.{base64url(raw[:-1])}",
        "one byte more": f"{header}.{payload}.{base64url(raw + bytes(1))}",
        "zeros": f"{header}.{payload}.{base64url(bytes(len(raw)))}",
        "padded": f"{header}.{payload}.{signature}=",
        "another payload": f"{header}.{base64url(b'{}')}.{signature}",
        "another header": f"{base64url(dump({'alg': 'none'}))}.{payload}.{signature}",
        "segments swapped": f"{payload}.{header}.{signature}",
        "a fourth segment": f"{header}.{payload}.{signature}.{signature}",
        "JSON form": '{"payload":"' + payload + '","protected":"' + header + '","signature":"' + signature + '"}',
    }


CHANGED: Mapping[str, str] = {
    f"{name}: {how}": token for name, (good, _, _) in VECTORS.items() for how, token in changed(good).items()
}
"""Every changed form of every example."""
