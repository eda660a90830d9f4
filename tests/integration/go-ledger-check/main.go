// ledgercheck judges a Tidegate ledger with Go's own libraries and nothing of Tidegate's:
// note.Open for the checkpoint, tlog for the tree.
//
//	ledgercheck VKEY FOLDER
//	ledgercheck cosigned VKEY WITNESS-VKEY FILE         both signatures of a co-signed checkpoint (C2SP tlog-cosignature)
//	ledgercheck consistent SIZE ROOT SIZE ROOT NODE...  a consistency proof, in hex
//	ledgercheck receipt VKEY FILE                       a C2SP tlog-proof
//
// It opens the checkpoint, computes the root and every tile from the entries and compares them, and checks inclusion
// proofs of some entries and consistency proofs from some sizes, made from the tiles. The last line is "ok SIZE".
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

func main() {
	switch {
	case len(os.Args) == 5 && os.Args[1] == "cosigned":
		checkCosigned(os.Args[2], os.Args[3], os.Args[4])
		return
	case len(os.Args) >= 6 && os.Args[1] == "consistent":
		checkConsistent(os.Args[2], os.Args[3], os.Args[4], os.Args[5], os.Args[6:])
		return
	case len(os.Args) == 4 && os.Args[1] == "receipt":
		checkReceipt(os.Args[2], os.Args[3])
		return
	}
	if len(os.Args) != 3 {
		fail("usage: ledgercheck VKEY FOLDER")
	}
	folder := os.Args[2]
	tree := openCheckpoint(os.Args[1], filepath.Join(folder, "checkpoint"))
	entries := readEntries(folder, tree.N)
	computed := hashEntries(entries)
	checkTiles(folder, tree, computed)
	checkRoot(tree, computed)
	if tree.N > 0 {
		checkProofs(tlog.TileHashReader(tree, &files{folder}), tree)
	}
	fmt.Printf("ok %d\n", tree.N)
}

// openCheckpoint verifies the note and reads its three lines (tlog.ParseTree knows the sumdb's own header only).
func openCheckpoint(vkey, path string) tlog.Tree {
	verifier, err := note.NewVerifier(vkey)
	check(err)
	data, err := os.ReadFile(path)
	check(err)
	opened, err := note.Open(data, note.VerifierList(verifier))
	check(err)
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() || lines[3] != "" {
		fail("checkpoint: text is %q", opened.Text)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	check(err)
	raw, err := base64.StdEncoding.DecodeString(lines[2])
	check(err)
	tree := tlog.Tree{N: size}
	if copy(tree.Hash[:], raw) != tlog.HashSize || len(raw) != tlog.HashSize {
		fail("checkpoint: root hash has %d bytes", len(raw))
	}
	return tree
}

// tilePath is c2sp.org/tlog-tiles' path: tlog's own without the height.
func tilePath(tile tlog.Tile) string {
	return strings.Replace(tile.Path(), fmt.Sprintf("tile/%d/", height), "tile/", 1)
}

func readEntries(folder string, size int64) [][]byte {
	var entries [][]byte
	for n := int64(0); n*256 < size; n++ {
		width := int(min(256, size-n*256))
		path := strings.Replace(tilePath(tlog.Tile{H: height, L: 0, N: n, W: width}), "tile/0/", "tile/entries/", 1)
		data, err := os.ReadFile(filepath.Join(folder, path))
		check(err)
		for i := 0; i < width; i++ {
			length := int(binary.BigEndian.Uint16(data))
			entries = append(entries, data[2:2+length])
			data = data[2+length:]
		}
		if len(data) != 0 {
			fail("%s: %d bytes after the last entry", path, len(data))
		}
	}
	return entries
}

// checkTiles compares every tile that a log of this size has with what the entries give.
func checkTiles(folder string, tree tlog.Tree, computed stored) {
	for _, tile := range tlog.NewTiles(height, 0, tree.N) {
		want, err := tlog.ReadTileData(tile, computed)
		check(err)
		found, err := os.ReadFile(filepath.Join(folder, tilePath(tile)))
		check(err)
		if !bytes.Equal(found, want) {
			fail("%s: is not what the entries give", tilePath(tile))
		}
	}
}

func checkProofs(hashes tlog.HashReader, tree tlog.Tree) {
	for _, n := range []int64{0, tree.N / 2, tree.N - 1} {
		proof, err := tlog.ProveRecord(tree.N, n, hashes)
		check(err)
		leaf, err := hashes.ReadHashes([]int64{tlog.StoredHashIndex(0, n)})
		check(err)
		check(tlog.CheckRecord(proof, tree.N, tree.Hash, n, leaf[0]))
	}
	for _, n := range []int64{1, tree.N/2 + 1, tree.N} {
		old, err := tlog.TreeHash(n, hashes)
		check(err)
		proof, err := tlog.ProveTree(tree.N, n, hashes)
		check(err)
		check(tlog.CheckTree(proof, tree.N, tree.Hash, n, old))
	}
}

// stored is a log's hashes in memory, in tlog's own order.
type stored []tlog.Hash

func (s stored) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	found := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		found[i] = s[index]
	}
	return found, nil
}

func hashEntries(entries [][]byte) stored {
	var all stored
	for i, entry := range entries {
		more, err := tlog.StoredHashes(int64(i), entry, all)
		check(err)
		all = append(all, more...)
	}
	return all
}

func checkRoot(tree tlog.Tree, computed stored) {
	root, err := tlog.TreeHash(tree.N, computed)
	check(err)
	if root != tree.Hash {
		fail("root hash: entries give %v, the checkpoint says %v", root, tree.Hash)
	}
}

// files reads tiles from the log's folder, of exactly the width that is asked for.
type files struct{ folder string }

func (f *files) Height() int { return height }

func (f *files) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(tiles))
	for i, tile := range tiles {
		raw, err := os.ReadFile(filepath.Join(f.folder, tilePath(tile)))
		if err != nil {
			return nil, err
		}
		data[i] = raw
	}
	return data, nil
}

func (f *files) SaveTiles([]tlog.Tile, [][]byte) {}

func check(err error) {
	if err != nil {
		fail("%v", err)
	}
}

func fail(format string, values ...any) {
	fmt.Fprintf(os.Stderr, "ledgercheck: "+format+"\n", values...)
	os.Exit(1)
}
