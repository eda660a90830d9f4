#!/bin/sh
# system-packages.sh all|demo: install the real servers, clients and file systems that tests and demo use, where that
# is allowed (root on Debian or Ubuntu); else name what is missing and which tests stay out. Never fails for that.
set -u
what=${1:-all}

# command             Debian package    what stays out without it
needed='
docker-registry       docker-registry   tests with a real registry
skopeo                skopeo            tests in which an independent client pulls
'
if [ "$what" = all ]; then
    needed="$needed
mkfs.ext4             e2fsprogs         ext4 sticks
mcopy                 mtools            FAT images
mkfs.fat              dosfstools        FAT images
mkfs.exfat            exfatprogs        exFAT sticks
mount.exfat-fuse      exfat-fuse        exFAT sticks
fusermount3           fuse3             media that fail or lie (FUSE)
strace                strace            faults injected into system calls
zstd                  zstd              benchmarks
pdftotext             poppler-utils     the label and the custody slip of a medium, read and looked at
zbarimg               zbar-tools        the independent reader of a slip's QR code
systemd-analyze       systemd           the check of units
udevadm               udev              the check of rules
"
fi

missing_packages() {
    echo "$needed" | while read -r command package _; do
        [ -n "$command" ] || continue
        PATH=$PATH:/sbin:/usr/sbin command -v "$command" >/dev/null 2>&1 || echo "$package"
    done | sort -u
}

missing=$(missing_packages)
if [ -n "$missing" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing: $(echo "$missing" | tr '\n' ' ')"
    export DEBIAN_FRONTEND=noninteractive
    # A policy that keeps package scripts from starting services: tests start their own, on free ports.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then printf '#!/bin/sh\nexit 101\n' >"$policy"; chmod +x "$policy"; ours=1; fi
    apt-get update -qq
    # shellcheck disable=SC2086
    apt-get install -y -qq --no-install-recommends $missing >/dev/null || true
    [ -z "${ours:-}" ] || rm -f "$policy"
    missing=$(missing_packages)
fi
if [ -n "$missing" ]; then
    echo "not installed here, so these stay out (on Debian and Ubuntu, as root: apt-get install $(echo "$missing" | tr '\n' ' ')):"
    echo "$needed" | while read -r command package reason; do
        [ -n "$command" ] || continue
        PATH=$PATH:/sbin:/usr/sbin command -v "$command" >/dev/null 2>&1 || echo "  $package: $reason"
    done
fi

# program             Go package, pinned                                               what stays out without it
built='
crane                 github.com/google/go-containerregistry/cmd/crane@v0.20.3          tests with crane
registry              github.com/distribution/distribution/v3/cmd/registry@v3.1.2       tests with distribution v3
regctl                github.com/regclient/regclient/cmd/regctl@v0.11.7                 tests that look for what belongs to an image
cosign                github.com/sigstore/cosign/v3/cmd/cosign@v3.1.3                   tests with real signatures
helm                  helm.sh/helm/v3/cmd/helm@v3.22.0                                  tests with helm
'
if [ "$what" = all ]; then
    echo "$built" | while read -r program package reason; do
        [ -n "$program" ] || continue
        ! command -v "$program" >/dev/null 2>&1 || continue
        [ ! -x "$(go env GOPATH 2>/dev/null)/bin/$program" ] || continue
        if command -v go >/dev/null 2>&1; then
            echo "building $program; this may take minutes"
            go install "$package" >/dev/null 2>&1 || echo "  $program could not be built, so these stay out: $reason"
        else
            echo "  no Go, so these stay out: $reason"
        fi
    done
fi
exit 0
