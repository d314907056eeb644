// Owns what the cluster knows of its nodes by their own word: keys, addresses, and which disk a node has.
// Must never: lose the key of a node before the tokens that it signed are worthless. A removed node's records stay,
// marked as such, up to a bound.

/// What a node says of itself when it starts.
package struct NodeRecord: Sendable, Equatable {
  package let node: UInt64
  package let keyID: String
  package let publicKey: Bytes
  /// The URL at which clients are served.
  package let clientURL: String
  /// The identity of the node's disk: drawn when its directory was made, so a node that comes back under its old name
  /// with an empty disk is known by another one. 0 when the node said none, as those before version 2 did.
  package let birth: UInt64
  /// The node is no member any more. Its key still verifies the tokens that it signed.
  package internal(set) var isRemoved = false

  package init(node: UInt64, keyID: String, publicKey: Bytes, clientURL: String, birth: UInt64 = 0) {
    self.node = node
    self.keyID = keyID
    self.publicKey = publicKey
    self.clientURL = clientURL
    self.birth = birth
  }
}

extension Coordination {
  /// The newest record of a node that was not removed.
  package func node(_ id: UInt64) -> NodeRecord? {
    nodes.last { $0.node == id && !$0.isRemoved }
  }

  mutating func register(_ record: NodeRecord) {
    nodes.removeAll { $0.keyID == record.keyID }
    nodes.append(record)
  }

  /// Marks a node's records. Of the records of removed nodes only the newest are kept.
  mutating func forget(node: UInt64) {
    for index in nodes.indices where nodes[index].node == node { nodes[index].isRemoved = true }
    var surplus = nodes.count(where: \.isRemoved) - StateLimits.maxRemovedNodeRecords
    nodes.removeAll { record in
      guard record.isRemoved, surplus > 0 else { return false }
      surplus -= 1
      return true
    }
  }
}
