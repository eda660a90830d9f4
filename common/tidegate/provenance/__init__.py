"""What belongs to an image: where signatures, attestations and SBOMs are found, what they say, and whether they hold.

`attachments` knows the two ways in which something is attached (a tag made of the digest, a `subject`); `referrers`
asks a registry; `cosign` reads and verifies; `expectation` says what must be there. Rules: docs/format/content.md,
"What belongs to an image".
"""
