"""Images that lie in tars: `tars` finds which kind one is.

docker_archive    docker save
oci_archive       an OCI layout in a tar
imgpkg_tar        imgpkg copy --to-tar
"""
