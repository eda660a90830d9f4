"""A page for people: what a stage has, and the lines to paste into a client.

Plain HTML, no script, nothing from elsewhere. Names come from bundles: everything is escaped.
"""

from collections.abc import Iterator
from html import escape
from urllib.parse import quote

from tidegate.units import format_bytes
from tidegate_receiver.serving.catalog import Catalog, Repository

#: nothing is loaded or run, whatever a name says
SECURITY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_ROWS_MAX = 5000
_STYLE = """body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#222}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.25rem .75rem .25rem 0;vertical-align:top;
border-bottom:1px solid #ddd}code,pre{font:13px/1.5 ui-monospace,monospace}pre{background:#f5f5f5;padding:.75rem;
overflow-x:auto}td.size{text-align:right;white-space:nowrap}
@media (prefers-color-scheme:dark){body{background:#111;color:#ddd}pre{background:#222}th,td{border-color:#333}}"""


def page(catalog: Catalog, host: str, scheme: str) -> str:
    """The page, for a client that reached this server at `host`."""
    rows = list(_rows(catalog))
    more = (
        f"<p>and {len(rows) - _ROWS_MAX} more: <code>/v2/_catalog</code> lists all.</p>"
        if len(rows) > _ROWS_MAX
        else ""
    )
    table = "".join(rows[:_ROWS_MAX])
    body = (
        f"<table><thead><tr><th>what</th><th>kind</th><th>size</th></tr></thead><tbody>{table}</tbody></table>{more}"
        if rows
        else "<p>Nothing is here yet: <code>tidegate load BUNDLE</code> brings content.</p>"
    )
    damaged = "".join(f"<li><code>{escape(place)}</code></li>" for place in catalog.damaged)
    warning = f"<h2>Damaged, and not served</h2><ul>{damaged}</ul>" if damaged else ""
    lines = escape(_lines(catalog, host, scheme))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Tidegate at {escape(host)}</title><style>{_STYLE}</style>"
        f"<h1>Tidegate at {escape(host)}</h1>{body}{warning}<h2>Clients</h2><pre>{lines}</pre>"
    )


def _rows(catalog: Catalog) -> Iterator[str]:
    for name, repository in sorted(catalog.repositories.items()):
        for tag, digest in sorted(repository.tags.items()):
            size = format_bytes(repository.sizes.get(tag, 0))
            link = f"/v2/{quote(name)}/manifests/{quote(tag)}"
            yield (
                f'<tr><td><a href="{escape(link)}"><code>{escape(name)}:{escape(tag)}</code></a><br>'
                f"<small><code>{escape(digest)}</code></small></td>"
                f'<td>{kind_of(name, repository, digest)}</td><td class="size">{escape(size)}</td></tr>'
            )


def kind_of(name: str, repository: Repository, digest: str) -> str:
    """What a person calls it."""
    if repository.charts:
        return "chart"
    if name.startswith("files/"):
        return "files"
    manifest = repository.manifests.get(digest)
    return "image, several platforms" if manifest is not None and manifest.is_index else "image"


def _lines(catalog: Catalog, host: str, scheme: str) -> str:
    """What to paste; with an example of what is really here."""
    plain = scheme == "http"
    lines = []
    image = _first(catalog, charts=False)
    if image:
        option = " --src-tls-verify=false" if plain else ""
        lines += [
            f"docker pull {host}/{image}",
            f"crane pull{' --insecure' if plain else ''} {host}/{image} image.tar",
            f"skopeo copy{option} docker://{host}/{image} oci:image",
        ]
        lines += _belonging(catalog, host, plain)
    chart = next(((name, item.charts[0]) for name, item in sorted(catalog.repositories.items()) if item.charts), None)
    if chart:
        name, staged = chart
        option = " --plain-http" if plain else ""
        lines += [
            f"helm repo add tidegate {scheme}://{host}",
            f"helm install {staged.metadata.name} tidegate/{staged.metadata.name} --version {staged.metadata.version}",
            f"helm pull oci://{host}/{name} --version {staged.metadata.version}{option}",
        ]
    lines.append(f"curl {scheme}://{host}/v2/_catalog")
    lines += ["", "# containerd: /etc/containerd/certs.d/" + host + "/hosts.toml", f'server = "{scheme}://{host}"']
    lines += [f'[host."{scheme}://{host}"]', '  capabilities = ["pull", "resolve"]']
    lines += ["", "# mirrors for clusters, and policies: on this host", _names(host)]
    if plain:
        lines += ["", "# Docker: /etc/docker/daemon.json", f'{{"insecure-registries": ["{host}"]}}']
    return "\n".join(lines)


def _names(host: str) -> str:
    return f"tidegate names --stage --host {host} --format registries   # or idms, hosts, kbld, kyverno …"


def _belonging(catalog: Catalog, host: str, plain: bool) -> list[str]:
    """For the first image that something belongs to: how to see and to verify that."""
    for name, repository in sorted(catalog.repositories.items()):
        signed = sorted(tag for tag in repository.tags if tag.startswith("sha256-") and tag.endswith(".sig"))
        if signed:
            image = f"{host}/{name}@sha256:{signed[0][7:-4]}"
            option = " --allow-insecure-registry" if plain else ""
            return [
                f"cosign verify --key cosign.pub --insecure-ignore-tlog=true{option} {image}",
                f"regctl artifact tree{f' --host reg={host},tls=disabled' if plain else ''} {image}",
            ]
    return []


def _first(catalog: Catalog, *, charts: bool) -> str:
    for name, repository in sorted(catalog.repositories.items()):
        if bool(repository.charts) == charts and not name.startswith("files/"):
            tags = [tag for tag in repository.tags if not tag.startswith("sha256-")]
            if tags:
                return f"{name}:{min(tags)}"
    return ""
