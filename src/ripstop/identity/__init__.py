"""The certificate authority, SPIFFE identities, enrolment."""
