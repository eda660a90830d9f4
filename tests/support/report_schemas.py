"""What the readers of our reports take, written down here from their definitions: only the fields that we use.

Strict: a field that is not listed is a fault, as a typing error would be. Held against
  Kyverno 1.19.1 (config/crds, api/kyverno/v1), policy-controller 0.13.1 (config/300-clusterimagepolicy.yaml),
  kapp-controller (config/config/crds.yml of October 2024), openshift/api (config/v1, August 2026),
  kbld (pkg/kbld/config, March 2024), imgpkg (pkg/imgpkg/lockconfig, October 2024).
To hold the reports against the definitions themselves put those files into a folder and name it in TIDEGATE_CRDS.
"""

from pathlib import Path
from typing import Any

import yaml

Schema = dict[str, Any]

TEXT: Schema = {"type": "string", "minLength": 1}
BOOLEAN: Schema = {"type": "boolean"}
_DIGEST = "@sha256:[0-9a-f]{64}$"
# as OpenShift's own: a host, perhaps a port, and a path
_PLACE = {"type": "string", "pattern": r"^[A-Za-z0-9.-]+(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+$"}
_NAME = {"type": "string", "pattern": r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", "maxLength": 253}


def fields(required: dict[str, Schema], optional: dict[str, Schema] | None = None) -> Schema:
    """An object with these fields and no others."""
    properties = {**required, **(optional or {})}
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def items(of: Schema, least: int = 0) -> Schema:
    return {"type": "array", "items": of, "minItems": least}


def _object(version: str, kind: str, spec: Schema) -> Schema:
    known = {"apiVersion": {"const": version}, "kind": {"const": kind}}
    return fields({**known, "metadata": fields({"name": _NAME}), "spec": spec})


def _mirror_set(kind: str, field: str) -> Schema:
    policies = {"enum": ["NeverContactSource", "AllowContactingSource"]}
    mirror = fields(
        {"source": _PLACE, "mirrors": {**items(_PLACE), "uniqueItems": True}}, {"mirrorSourcePolicy": policies}
    )
    return _object("config.openshift.io/v1", kind, fields({field: items(mirror)}))


_KEY = {"type": "string", "pattern": r"^-----BEGIN PUBLIC KEY-----\n([A-Za-z0-9+/=]+\n)+-----END PUBLIC KEY-----\n$"}
_STATIC_KEY = fields(
    {"publicKeys": _KEY}, {"rekor": fields({"ignoreTlog": BOOLEAN}), "ctlog": fields({"ignoreSCT": BOOLEAN})}
)
_ATTESTOR = fields({"count": {"type": "integer", "minimum": 1}, "entries": items(fields({"keys": _STATIC_KEY}), 1)})
_VERIFY = fields(
    {"imageReferences": items(TEXT, 1), "attestors": items(_ATTESTOR, 1)},
    {
        "type": {"enum": ["Cosign", "SigstoreBundle"]},
        "failureAction": {"enum": ["Audit", "Enforce"]},
        "required": BOOLEAN,
        "mutateDigest": BOOLEAN,
        "verifyDigest": BOOLEAN,
    },
)
_MATCH = fields({"any": items(fields({"resources": fields({"kinds": items(TEXT, 1)})}), 1)})
_RULE = fields({"name": {**TEXT, "maxLength": 63}, "match": _MATCH, "verifyImages": items(_VERIFY, 1)})
_TIMEOUT = fields({"timeoutSeconds": {"type": "integer", "minimum": 1, "maximum": 30}})
_GLOB = {"type": "string", "pattern": r"^[a-zA-Z0-9_:/*.@-]+$"}
_AUTHORITY = fields({"name": TEXT, "key": fields({"data": _KEY}, {"hashAlgorithm": {"enum": ["sha256"]}})})
_PINNED = {"type": "string", "pattern": _DIGEST}
_BUNDLE = fields({"image": _PINNED}, {"secretRef": fields({"name": _NAME})})
_OVERRIDE = fields({"image": TEXT, "newImage": _PINNED}, {"preresolved": BOOLEAN})
_LOCKED = fields({"image": _PINNED, "annotations": {"type": "object", "additionalProperties": TEXT}})

OWN: dict[str, Schema] = {
    "idms": _mirror_set("ImageDigestMirrorSet", "imageDigestMirrors"),
    "itms": _mirror_set("ImageTagMirrorSet", "imageTagMirrors"),
    "kyverno": _object(
        "kyverno.io/v1",
        "ClusterPolicy",
        fields({"rules": items(_RULE, 1)}, {"background": BOOLEAN, "webhookConfiguration": _TIMEOUT}),
    ),
    "policy-controller": _object(
        "policy.sigstore.dev/v1beta1",
        "ClusterImagePolicy",
        fields({"images": items(fields({"glob": _GLOB}), 1), "authorities": items(_AUTHORITY, 1)}),
    ),
    "packagerepository": _object(
        "packaging.carvel.dev/v1alpha1", "PackageRepository", fields({"fetch": fields({"imgpkgBundle": _BUNDLE})})
    ),
    "kbld": fields(
        {
            "apiVersion": {"const": "kbld.k14s.io/v1alpha1"},
            "kind": {"const": "Config"},
            "overrides": items(_OVERRIDE),
        }
    ),
    "imageslock": fields(
        {
            "apiVersion": {"const": "imgpkg.carvel.dev/v1alpha1"},
            "kind": {"const": "ImagesLock"},
            "images": items(_LOCKED),
        }
    ),
}


def definitions(folder: Path) -> dict[tuple[str, str], Schema]:
    """The definitions of a folder, made strict, by API version and kind."""
    found = {}
    for path in sorted(folder.glob("*.y*ml")):
        for document in yaml.load_all(path.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            if not isinstance(document, dict) or document.get("kind") != "CustomResourceDefinition":
                continue
            spec = document["spec"]
            for version in spec["versions"]:
                schema = strict(version["schema"]["openAPIV3Schema"])
                every = {"apiVersion": TEXT, "kind": TEXT, "metadata": {"type": "object"}}
                schema["properties"].update(every)  # every object has them, listed or not
                found[f"{spec['group']}/{version['name']}", spec["names"]["kind"]] = schema
    return found


def strict(schema: Any) -> Any:
    """A structural schema of Kubernetes as JSON Schema: what is not listed is a fault, not pruned in silence."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items() if not key.startswith("x-kubernetes")}
    if schema.get("x-kubernetes-int-or-string"):
        made.pop("type", None)
    is_open = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if isinstance(schema.get("properties"), dict) and not is_open and schema.get("type") == "object":
        made["additionalProperties"] = False
    return made
