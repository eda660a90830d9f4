"""Words of the OCI specifications that several rooms use: media types and annotations. Constants only."""

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
INDEX_TYPES = frozenset({OCI_INDEX, DOCKER_INDEX})
MANIFEST_TYPES = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})

OCI_EMPTY = "application/vnd.oci.empty.v1+json"
EMPTY_BYTES = b"{}"
EMPTY_DIGEST = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
OCI_LAYER_TAR = "application/vnd.oci.image.layer.v1.tar"

#: docs/format/content.md: a folder or a file as an artifact
FILES_TYPE = "application/vnd.tidegate.files.v1"

REF_NAME = "org.opencontainers.image.ref.name"
TITLE = "org.opencontainers.image.title"
#: which platforms of an index an artifact carries (docs/format/content.md, C-7)
PLATFORMS = "vnd.tidegate.platforms"
#: names of targets that the low side asks the high side to load an artifact to, comma between
LOAD = "vnd.tidegate.load"
FILES_BYTES = "vnd.tidegate.files.bytes"
FILES_ENTRIES = "vnd.tidegate.files.entries"
#: BuildKit: the attestation manifest of another child of the same index
DOCKER_REFERENCE_DIGEST = "vnd.docker.reference.digest"
