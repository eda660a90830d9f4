"""From what a person asks for to artifacts in the depot: the only step that talks to the low side's sources.

    lists/      what is wanted: arguments, transfer lists, locks, lists of other tools; `items` are what comes of them
    pipeline    runs them all, and reports what failed; survey, looking: the same without bringing anything
    images, layout, charts, files, imgpkg_bundle, downloads, sbom
                one module a kind of source, as `kinds` says what a source is
    archives/   images that lie in tars
    registry, fetching, attachments, platforms, tags
                what a registry has, and what belongs to an image

Bytes of folders and files: docs/format/content.md.
"""
