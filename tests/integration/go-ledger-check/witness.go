package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// cosigner is a note.Verifier for C2SP's tlog-cosignature, type Ed25519; Go's note package has none.
type cosigner struct {
	name string
	key  ed25519.PublicKey
}

func (c *cosigner) Name() string { return c.name }

func (c *cosigner) KeyHash() uint32 {
	digest := sha256.Sum256(append([]byte(c.name+"\n\x04"), c.key...))
	return binary.BigEndian.Uint32(digest[:4])
}

func (c *cosigner) Verify(message, signature []byte) bool {
	if len(signature) != 8+ed25519.SignatureSize {
		return false
	}
	time := binary.BigEndian.Uint64(signature[:8])
	signed := append([]byte(fmt.Sprintf("cosignature/v1\ntime %d\n", time)), message...)
	return ed25519.Verify(c.key, signed, signature[8:])
}

func newCosigner(vkey string) *cosigner {
	parts := strings.SplitN(vkey, "+", 3)
	if len(parts) != 3 {
		fail("%q is no verifier key", vkey)
	}
	raw, err := base64.StdEncoding.DecodeString(parts[2])
	check(err)
	if len(raw) != 33 || raw[0] != 4 {
		fail("%q is no verifier key of a witness", vkey)
	}
	made := &cosigner{parts[0], raw[1:]}
	if id := fmt.Sprintf("%08x", made.KeyHash()); id != parts[1] {
		fail("the witness has the key id %s, its verifier key says %s", id, parts[1])
	}
	return made
}

func checkCosigned(vkey, witness, path string) {
	verifier, err := note.NewVerifier(vkey)
	check(err)
	data, err := os.ReadFile(path)
	check(err)
	opened, err := note.Open(data, note.VerifierList(verifier, newCosigner(witness)))
	check(err)
	if len(opened.Sigs) != 2 || len(opened.UnverifiedSigs) != 0 {
		fail("%d signatures hold, %d are of others", len(opened.Sigs), len(opened.UnverifiedSigs))
	}
	fmt.Printf("ok %s\n", strings.Split(opened.Text, "\n")[1])
}

func readHash(text string) (hash tlog.Hash) {
	raw, err := hex.DecodeString(text)
	check(err)
	if copy(hash[:], raw) != tlog.HashSize {
		fail("%q is no hash", text)
	}
	return hash
}

func checkConsistent(oldSize, oldRoot, newSize, newRoot string, nodes []string) {
	old, err := strconv.ParseInt(oldSize, 10, 64)
	check(err)
	size, err := strconv.ParseInt(newSize, 10, 64)
	check(err)
	var proof tlog.TreeProof
	for _, node := range nodes {
		proof = append(proof, readHash(node))
	}
	check(tlog.CheckTree(proof, size, readHash(newRoot), old, readHash(oldRoot)))
	fmt.Printf("ok %d\n", size)
}

func checkReceipt(vkey, path string) {
	data, err := os.ReadFile(path)
	check(err)
	proof, checkpoint, found := bytes.Cut(data, []byte("\n\n"))
	lines := strings.Split(string(proof), "\n")
	if !found || len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" {
		fail("%s: is no tlog-proof", path)
	}
	entry, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
	check(err)
	number, err := strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64)
	check(err)
	var nodes tlog.RecordProof
	for _, line := range lines[3:] {
		raw, err := base64.StdEncoding.DecodeString(line)
		check(err)
		nodes = append(nodes, readHash(hex.EncodeToString(raw)))
	}
	place := path + ".checkpoint"
	check(os.WriteFile(place, checkpoint, 0o600))
	defer os.Remove(place)
	tree := openCheckpoint(vkey, place)
	check(tlog.CheckRecord(nodes, tree.N, tree.Hash, number, tlog.RecordHash(entry)))
	fmt.Printf("ok %d\n", number)
}
