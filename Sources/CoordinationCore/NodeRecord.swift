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
  /// The store's revision when the node was removed, or came back with another key: no grant above it can have been signed
  /// with this one. 0 where there is no such bound.
  package internal(set) var lastNumber: Int64 = 0

  package init(node: UInt64, keyID: String, publicKey: Bytes, clientURL: String, birth: UInt64 = 0) {
    self.node = node
    self.keyID = keyID
    self.publicKey = publicKey
    self.clientURL = clientURL
    self.birth = birth
  }
}

extension Coordination {
  /// Of a node that is no member any more, or has another key by now, and whose key may still vouch for anything.
  /// - Parameter isMember: whether a node is one.
  package func unboundedKey(isMember: (UInt64) -> Bool) -> (node: UInt64, isRemoved: Bool)? {
    for record in nodes where record.node != 0 && (record.lastNumber == 0 || !record.isRemoved) {
      if !isMember(record.node) { return (record.node, true) }
      if record.lastNumber == 0, record != node(record.node) { return (record.node, false) }
    }
    return nil
  }

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
    dropSurplus()
  }

  /// What a node's keys may vouch for ends here: all of them where it was removed, or all but its newest.
  mutating func retireKeys(of node: UInt64, isRemoved: Bool) {
    usesSessions = true
    let newest = isRemoved ? nil : nodes.lastIndex { $0.node == node && !$0.isRemoved }
    for index in nodes.indices where nodes[index].node == node && index != newest {
      if isRemoved { nodes[index].isRemoved = true }
      if nodes[index].lastNumber == 0 { nodes[index].lastNumber = store.revision }
    }
    dropSurplus()
  }

  private mutating func dropSurplus() {
    var surplus = nodes.count(where: \.isRemoved) - StateLimits.maxRemovedNodeRecords
    nodes.removeAll { record in
      guard record.isRemoved, surplus > 0 else { return false }
      surplus -= 1
      return true
    }
  }
}
