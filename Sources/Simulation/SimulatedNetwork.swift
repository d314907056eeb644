// Owns who can reach whom and what happens to a message on its way.
// Must never: change a message, unless a bug was planted that does.
// Invariant: a cut is one-way; a partition is a set of cuts.

import RaftCore

struct SimulatedNetwork {
  private let nodeCount: Int
  private var isCut: [Bool]
  var lossPerMille: UInt64 = 0
  var repeatPerMille: UInt64 = 0
  var latePerMille: UInt64 = 0
  /// Rises with each partition, so that the end of an earlier one does not heal a later one.
  private(set) var partitionNumber: UInt64 = 0

  init(nodeCount: Int) {
    self.nodeCount = nodeCount
    isCut = Array(repeating: false, count: nodeCount * nodeCount)
  }

  func reaches(from: Int, to: Int) -> Bool { !isCut[from * nodeCount + to] }

  mutating func cut(from: Int, to: Int) { isCut[from * nodeCount + to] = true }

  mutating func beginPartition() {
    heal()
    partitionNumber += 1
  }

  mutating func heal() {
    for position in isCut.indices { isCut[position] = false }
  }

  mutating func becomeReliable() {
    heal()
    lossPerMille = 0
    repeatPerMille = 0
    latePerMille = 0
  }
}
