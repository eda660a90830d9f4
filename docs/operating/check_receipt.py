#!/usr/bin/env python3
"""Check a receipt of a Tidegate ledger (C2SP tlog-proof), with nothing but Python and the ledger's public key.

    python3 check_receipt.py VKEY FILE.tlog-proof...

VKEY is the verifier key as text, "name+id+base64", which whoever runs the ledger has given you by a way that you trust.
For each file it prints the entry that the ledger holds, or says what is wrong; the exit code is 1 if anything is.

What is checked: the checkpoint's Ed25519 signature (RFC 8032), and that the entry is in the signed tree (RFC 6962).
"""

import base64
import hashlib
import sys

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)


def recover_x(y, sign):
    """The x of a point of the curve, from its y and the lowest bit of x."""
    if y >= P:
        raise ValueError("no point of the curve")
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * ROOT_OF_MINUS_ONE % P
    if (x * x - x2) % P or (x == 0 and sign):
        raise ValueError("no point of the curve")
    return P - x if x & 1 != sign else x


def add(a, b):
    """The sum of two points in extended coordinates."""
    (x1, y1, z1, t1), (x2, y2, z2, t2) = a, b
    e, f = (y1 - x1) * (y2 - x2), (y1 + x1) * (y2 + x2)
    g, h = 2 * t1 * t2 * D, 2 * z1 * z2
    k, m, n, o = f - e, h - g, h + g, f + e
    return k * m % P, n * o % P, m * n % P, k * o % P


def multiply(number, point):
    total = (0, 1, 1, 0)
    while number:
        if number & 1:
            total = add(total, point)
        point, number = add(point, point), number >> 1
    return total


def read_point(data):
    value = int.from_bytes(data, "little")
    y = value & (2**255 - 1)
    x = recover_x(y, value >> 255)
    return x, y, 1, x * y % P


BASE_Y = 4 * pow(5, P - 2, P) % P
BASE = (recover_x(BASE_Y, 0), BASE_Y, 1, recover_x(BASE_Y, 0) * BASE_Y % P)


def verify(public, message, signature):
    """Whether the signature is that of the public key over the message."""
    try:
        key, r = read_point(public), read_point(signature[:32])
    except ValueError:
        return False
    s = int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or s >= L:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    left, right = multiply(s, BASE), add(r, multiply(h, key))
    return (left[0] * right[2] - right[0] * left[2]) % P == 0 and (left[1] * right[2] - right[1] * left[2]) % P == 0


def check(vkey, data):
    """The entry and its number and origin, or ValueError with what is wrong."""
    name, key_id, encoded = vkey.strip().split("+", 2)
    key = base64.b64decode(encoded, validate=True)
    if key[0] != 1 or hashlib.sha256(name.encode() + b"\n" + key).hexdigest()[:8] != key_id:
        raise ValueError("the verifier key is not one")
    proof, _, checkpoint = data.decode().partition("\n\n")
    first, extra, index, *path = proof.split("\n")
    if first != "c2sp.org/tlog-proof@v1" or not extra.startswith("extra ") or not index.startswith("index "):
        raise ValueError("this is no receipt")
    entry, number = base64.b64decode(extra[6:], validate=True), int(index[6:])

    text, _, signatures = checkpoint.rpartition("\n\n")
    text += "\n"
    origin, size, root = text.split("\n")[:3]
    size, root = int(size), base64.b64decode(root, validate=True)
    lines = [line.split(" ") for line in signatures.splitlines()]
    mine = [base64.b64decode(line[2]) for line in lines if len(line) == 3 and line[:2] == ["\u2014", name]]
    mine = [raw[4:] for raw in mine if raw[:4].hex() == key_id]
    if origin != name or not mine or not verify(key[1:], text.encode(), mine[0]):
        raise ValueError("the checkpoint is not signed by " + name)

    found, place, last = hashlib.sha256(b"\0" + entry).digest(), number, size - 1
    if not 0 <= number < size:
        raise ValueError("the number is beyond the ledger")
    for node in (base64.b64decode(line, validate=True) for line in path):
        if last == 0:
            raise ValueError("the proof is too long")
        if place & 1 or place == last:
            found = hashlib.sha256(b"\1" + node + found).digest()
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            found = hashlib.sha256(b"\1" + found + node).digest()
        place, last = place >> 1, last >> 1
    if last or found != root:
        raise ValueError("the entry is not in the tree that the checkpoint signs")
    return entry, number, origin, size


def main(arguments):
    if len(arguments) < 2:
        print(__doc__)
        return 2
    failed = 0
    for path in arguments[1:]:
        try:
            with open(path, "rb") as file:
                entry, number, origin, size = check(arguments[0], file.read(1 << 20))
        except (OSError, ValueError, IndexError) as error:
            print(f"{path}: WRONG: {error}")
            failed = 1
        else:
            print(f"{path}: holds: entry {number} of {size} of the ledger {origin}:")
            print(ascii(entry.decode(errors="backslashreplace")))
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
