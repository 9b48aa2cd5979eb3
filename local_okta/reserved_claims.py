"""The claims that no token hook can change.

Source: https://support.okta.com/help/s/article/list-of-reserved-claim-names. A hook may change
`aud` and `sub` in an access token, as Okta's description of the token hook says.
"""

IN_BOTH = {"iss", "jti", "token_type", "ver"}
IN_ACCESS_TOKEN = {"acr", "amr", "as_uri", "cid", "groups", "rpt", "rsi", "uid", "username"}
IN_ID_TOKEN = {
    "active", "aid", "app_id", "app_type", "at_hash", "aud", "auth_time", "c_hash", "client_id",
    "client_ip", "client_req_id", "client_type", "client_user_agent", "cnf", "device_compliance",
    "device_id", "device_known", "device_managed", "device_name", "device_trust", "did", "dst",
    "group", "hotk", "idp", "idp_iss", "mac_key", "may_act", "nonce", "oid", "okta_emailVerified",
    "okta_lastUpdated", "orig", "permissions", "purpose", "pwd_exp_days", "pwd_exp_time", "rid",
    "role", "scope", "scopes", "sid", "sub", "term", "user_ip",
}  # fmt: skip
RESERVED_CLAIMS = {
    "access token": IN_BOTH | IN_ACCESS_TOKEN,
    "ID token": IN_BOTH | IN_ID_TOKEN,
}
