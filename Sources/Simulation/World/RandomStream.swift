// Owns the chance of the world: one stream of numbers for each concern.
// Must never: share a stream between concerns, or one more draw in one would shift everything in all others.
// Invariant: the same seed and concern give the same numbers (SplitMix64 by Steele, Lea and Flood).

struct RandomStream: Sendable {
  enum Concern: UInt64 {
    case sizes = 1
    case network
    case disk
    case faults
    case clocks
    case load
    case scheduling
    case seeds
    case healing
    case sessions
    case gateways
    case watchers
    case members
    case contention
    case contenders
    case protectors
  }

  private var state: UInt64

  init(seed: UInt64, concern: Concern) {
    state = seed &* 0x9E37_79B9_7F4A_7C15 ^ (concern.rawValue &* 0xC2B2_AE3D_27D4_EB4F)
    _ = next()
  }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }

  mutating func next(in range: Range<UInt64>) -> UInt64 {
    range.lowerBound + next() % (range.upperBound - range.lowerBound)
  }

  mutating func next(below bound: Int) -> Int { Int(next() % UInt64(bound)) }

  mutating func chance(perMille: UInt64) -> Bool { next() % 1000 < perMille }

  mutating func pick<Element>(_ elements: [Element]) -> Element { elements[next(below: elements.count)] }

  /// A few numbers below `bound`, distinct, in the order in which they were drawn.
  mutating func sample(_ count: Int, below bound: Int) -> [Int] {
    var left = Array(0..<bound)
    var drawn: [Int] = []
    for _ in 0..<min(count, bound) { drawn.append(left.remove(at: next(below: left.count))) }
    return drawn
  }
}
