// Owns the randomness of every load: xoshiro256** (Blackman and Vigna, 2018), seeded through SplitMix64 as its authors
// advise.
//
// It must never draw from the system: a run is repeatable from the seed that its report states. It is not for secrets.

/// A small, fast generator whose whole sequence follows from a seed and a stream.
package struct SeededRandom: RandomNumberGenerator, Sendable {
  private var s0: UInt64
  private var s1: UInt64
  private var s2: UInt64
  private var s3: UInt64

  /// `stream` keeps what one seed is used for apart (arrivals, keys, the bytes of a value), so that changing how many
  /// numbers one of them draws leaves the others as they were.
  package init(seed: UInt64, stream: UInt64 = 0) {
    var state = SplitMix64(state: seed)
    state = SplitMix64(state: state.next() ^ (stream &* 0xD1B5_4A32_D192_ED03))
    s0 = state.next()
    s1 = state.next()
    s2 = state.next()
    s3 = state.next()
    // All zeros is the one state that xoshiro never leaves. SplitMix64 is a bijection of a counter, so four zeros in a
    // row cannot come out of it.
    precondition(s0 | s1 | s2 | s3 != 0)
  }

  package mutating func next() -> UInt64 {
    let product = s1 &* 5
    let result = (product << 7 | product >> 57) &* 9
    let shifted = s1 << 17
    s2 ^= s0
    s3 ^= s1
    s1 ^= s2
    s0 ^= s3
    s2 ^= shifted
    s3 = s3 << 45 | s3 >> 19
    return result
  }

  /// Uniform over [0, 1), on a grid of 2⁻⁵³.
  package mutating func unitInterval() -> Double {
    Double(next() >> 11) * 0x1p-53
  }

  /// Uniform over 0 ..< bound. The high half of the product is biased by at most bound / 2⁶⁴, which no load can show.
  package mutating func below(_ bound: UInt64) -> UInt64 {
    precondition(bound > 0, "nothing lies below zero")
    return next().multipliedFullWidth(by: bound).high
  }

  /// Exponential with the given mean: the gap between two arrivals of a Poisson process.
  package mutating func exponential(mean: Double) -> Double {
    // 1 - u is in (0, 1], where the logarithm exists.
    -mean * Elementary.ln(1 - unitInterval())
  }
}

private struct SplitMix64 {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
    return mixed ^ mixed >> 31
  }
}
