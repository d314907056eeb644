// Owns the three elementary functions that schedules and statistics need.
//
// They are written out because this room imports no system library, and because a schedule must be the same on every
// machine: the last bit of a libm's logarithm differs from one library to the next, and with it would differ which
// nanosecond a seed's thousandth arrival falls on. Only IEEE 754 basic operations are used here, which are exact
// everywhere.

enum Elementary {
  private static let ln2High = 0x1.62e42fee00000p-1
  private static let ln2Low = 0x1.a39ef35793c76p-33

  /// The natural logarithm of a positive, finite number, to within two units in the last place.
  static func ln(_ x: Double) -> Double {
    precondition(x > 0 && x.isFinite, "a logarithm needs a positive, finite number, not \(x)")
    var mantissa = x.significand
    var exponent = Double(x.exponent)
    // Centring the mantissa on 1 keeps |t| below 0.172, where twelve terms are enough, and keeps ln(1) at exactly 0.
    if mantissa > 1.414_213_562_373_095_1 {
      mantissa /= 2
      exponent += 1
    }
    let t = (mantissa - 1) / (mantissa + 1)
    let square = t * t
    var series = 0.0
    for odd in stride(from: 23, through: 3, by: -2) {
      series = (series + 1 / Double(odd)) * square
    }
    return exponent * ln2High + (2 * t * (series + 1) + exponent * ln2Low)
  }

  /// e to the power of `x`: 0 below the range of a `Double`, infinity above it.
  static func exp(_ x: Double) -> Double {
    if x > 709.7 { return .infinity }
    if x < -708.3 { return 0 }
    let doublings = (x / (ln2High + ln2Low)).rounded()
    let rest = (x - doublings * ln2High) - doublings * ln2Low
    var series = 1.0
    for term in stride(from: 16.0, through: 1.0, by: -1.0) {
      series = 1 + series * rest / term
    }
    return Double(sign: .plus, exponent: Int(doublings), significand: series)
  }

  /// The chance that a standard normal variable exceeds `z`.
  static func normalUpperTail(_ z: Double) -> Double {
    if z < 0 { return 1 - normalUpperTail(-z) }
    let density = exp(-z * z / 2) * 0.398_942_280_401_432_7
    if z < 3 {
      // The series of the distribution function about 0: z + z³/3 + z⁵/(3·5) + …
      var term = z
      var sum = z
      var odd = 3.0
      while term > sum * 1e-17 {
        term *= z * z / odd
        sum += term
        odd += 2
      }
      return 0.5 - density * sum
    }
    // Far out the series cancels, and Laplace's continued fraction for Mills' ratio converges.
    var fraction = z
    for step in stride(from: 60.0, through: 1.0, by: -1.0) {
      fraction = z + step / fraction
    }
    return density / fraction
  }
}
