// Owns the small stream of numbers that spreads election timeouts.
// Must never: be used for anything that an attacker must not guess.
// Invariant: the same seed gives the same numbers (SplitMix64 by Steele, Lea and Flood).

struct Generator: Sendable {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }

  /// A number in `0..<bound`. The bias of the remainder is far below what a timeout could show.
  mutating func next(below bound: Int) -> Int { Int(next() % UInt64(bound)) }
}
