"""Between protobuf messages and the domain's values: `requests` inwards, `replies` outwards."""
