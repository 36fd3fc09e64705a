package cluster

import (
	"crypto/sha256"
	"math/bits"
)

// Trees over the leaves of a batch, as RFC 9162 section 2.1 builds them: a leaf is hashed behind 0x00, an inner node behind
// 0x01, and the left half of n leaves are the largest power of two below n.

type hash = [sha256.Size]byte

func hashLeaf(leaf []byte) hash {
	h := sha256.New()
	h.Write([]byte{0})
	h.Write(leaf)
	return hash(h.Sum(nil))
}

func hashInner(left, right hash) hash {
	var b [1 + 2*sha256.Size]byte
	b[0] = 1
	copy(b[1:], left[:])
	copy(b[1+sha256.Size:], right[:])
	return sha256.Sum256(b[:])
}

func leftHalf(n int) int { return 1 << (bits.Len(uint(n-1)) - 1) }

// treePaths returns the root of the leaves' hashes and the path of each: the siblings from the leaf up.
func treePaths(leaves []hash) (root hash, paths [][]byte) {
	paths = make([][]byte, len(leaves))
	root = subtree(leaves, paths)
	return root, paths
}

func subtree(leaves []hash, paths [][]byte) hash {
	if len(leaves) == 1 {
		return leaves[0]
	}
	k := leftHalf(len(leaves))
	left, right := subtree(leaves[:k], paths[:k]), subtree(leaves[k:], paths[k:])
	for i := range paths {
		sibling := &right
		if i >= k {
			sibling = &left
		}
		paths[i] = append(paths[i], sibling[:]...)
	}
	return hashInner(left, right)
}

// pathLength is the number of siblings on the path of leaf i of n.
func pathLength(i, n int) (length int) {
	for n > 1 {
		if k := leftHalf(n); i < k {
			n = k
		} else {
			i, n = i-k, n-k
		}
		length++
	}
	return length
}

// pathRoot is the root that a leaf and its path lead to; path has pathLength(i, n) hashes.
func pathRoot(leaf hash, i, n int, path []byte) hash {
	if n <= 1 {
		return leaf
	}
	sibling := hash(path[len(path)-sha256.Size:])
	rest := path[:len(path)-sha256.Size]
	if k := leftHalf(n); i < k {
		return hashInner(pathRoot(leaf, i, k, rest), sibling)
	} else {
		return hashInner(sibling, pathRoot(leaf, i-k, n-k, rest))
	}
}
