// Owns who can reach whom and how reliable the way is.
// Must never: change a message, unless a bug was planted that does.
// Invariant: a cut is one-way; a partition is a set of cuts.

struct SimulatedNetwork {
  /// Places for nodes that join later are there from the beginning.
  private let capacity: Int
  private var isCut: [Bool]
  var sizes: World.NetworkSizes
  /// Rises with each partition, so that the end of an earlier one does not heal a later one.
  private(set) var partitionNumber: UInt64 = 0

  init(capacity: Int, sizes: World.NetworkSizes) {
    self.capacity = capacity
    self.sizes = sizes
    isCut = Array(repeating: false, count: capacity * capacity)
  }

  func reaches(from: Int, to: Int) -> Bool { !isCut[from * capacity + to] }

  mutating func cut(from: Int, to: Int) { isCut[from * capacity + to] = true }

  mutating func beginPartition() {
    heal()
    partitionNumber += 1
  }

  mutating func heal() {
    for position in isCut.indices { isCut[position] = false }
  }

  mutating func becomeReliable() {
    heal()
    sizes.lossPerMille = 0
    sizes.repeatPerMille = 0
    sizes.latePerMille = 0
  }
}
