"""What is wanted.

arguments         what is typed: a path, a list, a layout, an image
beginnings        which kind of list a file is, by its beginning
transfer_list     our own, by entries, images, yaml_form and yaml_places
foreign_lists     plain text, hauler's manifest, skopeo's file for sync
lock, locking     digests in place of tags: read, and made
"""
