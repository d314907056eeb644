// Owns what clients saw: when each request for a key began and ended, and with what.
// Must never: know an index, a revision or anything else of the cluster's own. The independent checker lives on this.
// Invariant: a request that was certainly not carried out is not in it; one whose end nobody knows stays open.

struct History {
  enum Result: Equatable {
    case value(UInt64?)
    case done
    case compared(Bool)
  }

  struct Item {
    var id: UInt64
    var work: Operation.Work
    var invokedAt: UInt64
    var returnedAt: UInt64?
    var result: Result?
    var isRemoved = false
  }

  private(set) var byKey: [[Item]] = []
  /// Where the item of a request is, by its number.
  private var places: [UInt64: (key: Int, position: Int)] = [:]
  private(set) var open: [Int] = []
  private(set) var completed = 0

  mutating func invoke(_ id: UInt64, _ work: Operation.Work, key: Int, at now: UInt64) {
    while byKey.count <= key {
      byKey.append([])
      open.append(0)
    }
    places[id] = (key, byKey[key].count)
    byKey[key].append(Item(id: id, work: work, invokedAt: now))
    open[key] += 1
  }

  mutating func complete(_ id: UInt64, _ result: Result, at now: UInt64) {
    guard let place = places[id], byKey[place.key][place.position].returnedAt == nil else { return }
    byKey[place.key][place.position].returnedAt = now
    byKey[place.key][place.position].result = result
    open[place.key] -= 1
    completed += 1
  }

  mutating func remove(_ id: UInt64) {
    guard let place = places[id], byKey[place.key][place.position].returnedAt == nil else { return }
    byKey[place.key][place.position].isRemoved = true
    open[place.key] -= 1
  }
}

extension Simulator {
  func judgeHistory() throws(Broken) {
  }
}
