"""The patients and users of Okta's guides. Make the functions below read your own store.

With other users, change the samples in local_okta/samples too, and the tests of the hooks: `make
test` names them.

The guides disagree about Jessie, so the token hook and the SAML hook each have their own patients.
"""

_PATIENT_IDS_FOR_TOKENS = {
    "jessie.smith@example.com": "1235",
    "kim.sato@example.com": "6789",
    "rajiv.tal@example.com": "4235",
    # The users in older versions of the guide.
    "michelle.test@example.com": "1235",
    "raj.gupta@example.com": "6789",
    "mark.christie2777@example.com": "4235",
}
_PATIENT_IDS_FOR_ASSERTIONS = {
    "michelle.test@example.com": "1235",
    "bob.uncle@example.com": "6789",
    "jessie.smith@example.com": "4235",
}

# generate_password_hash(…, "pbkdf2:sha256:600000") of password1, password2, password3. Werkzeug's
# default, scrypt, takes 32 MB for each check: too much for a small worker with several threads.
_PASSWORD_HASHES = {
    "jessie.smith@example.com": (
        "pbkdf2:sha256:600000$Iu4gBsWMVCUjE1uA$"
        "08d337c1047dfbcba079d28e186713d7dd9620c1aaf28f2ab95e3c3a8f9d4056"
    ),
    "kim.sato@example.com": (
        "pbkdf2:sha256:600000$JbT4jLhhBamEbCJC$"
        "18ebaace61f465eabbe4fe1a487157a86a8293213b5d585dc5da11828b16a6a0"
    ),
    "rajiv.tal@example.com": (
        "pbkdf2:sha256:600000$roGmKVJ5ROR4Im8K$"
        "6ea32f86363910552bb5e972158fd66e9bbc5a99c4d3405706d1a2595f74c8ee"
    ),
}

# The hash of a random password that was not kept. It takes as long to check as the others.
DECOY_HASH = (
    "pbkdf2:sha256:600000$Edq6VTn0kxw0D7mO$"
    "f29f3ab0e5b2eb3f01db59fb031ab58a5d602ca75bd8adc7ea4b397b3e6642e9"
)


def patient_id_for_token(login: str) -> str | None:
    """The patient ID of the user who signs in as `login`; None if the user is not a patient."""
    return _PATIENT_IDS_FOR_TOKENS.get(_same_case(login))


def patient_id_for_assertion(login: str) -> str | None:
    """The same for the SAML hook."""
    return _PATIENT_IDS_FOR_ASSERTIONS.get(_same_case(login))


def password_hash_of(login: str) -> str | None:
    """The stored hash of the user's password; None if there is no user `login`."""
    return _PASSWORD_HASHES.get(_same_case(login))


def _same_case(login: str) -> str:
    # Okta's logins are case-insensitive. Some letters outside ASCII would turn into ASCII ones.
    return login.lower() if login.isascii() else login
