// Owns how a figure reads: one unit that fits, three digits that mean something, the same in every report.
//
// It must never round a figure that is not nothing down to nothing.

enum FigureText {
  /// 1234567 → "1,234,567".
  static func count(_ value: UInt64) -> String {
    let digits = Array(String(value))
    var text = ""
    for (index, digit) in digits.enumerated() {
      if index > 0, (digits.count - index).isMultiple(of: 3) { text.append(",") }
      text.append(digit)
    }
    return text
  }

  /// 1 → "1 client", 2 → "2 clients".
  static func counted(_ value: UInt64, _ noun: String) -> String {
    "\(count(value)) \(noun)\(value == 1 ? "" : "s")"
  }

  /// A rate or another figure that may be small: whole numbers from 100 on, three digits below.
  static func amount(_ value: Double) -> String {
    guard value.isFinite else { return "–" }
    return value.magnitude >= 99.95
      ? (value < 0 ? "-" : "") + count(UInt64(Swift.min(value.magnitude, 1e18).rounded()))
      : threeDigits(value)
  }

  /// 1234567 → "1.23 ms".
  static func duration(nanoseconds: UInt64) -> String {
    let value = Double(nanoseconds)
    if value < 999.5 { return "\(nanoseconds) ns" }
    if value < 999.5e3 { return "\(threeDigits(value / 1e3)) µs" }
    if value < 999.5e6 { return "\(threeDigits(value / 1e6)) ms" }
    return "\(amount(value / 1e9)) s"
  }

  /// A duration that was calculated, such as a median.
  static func duration(nanoseconds: Double) -> String {
    guard nanoseconds.isFinite else { return "–" }
    return duration(nanoseconds: UInt64(Swift.min(Swift.max(0, nanoseconds), 1e18).rounded()))
  }

  static func duration(nanoseconds: UInt64?) -> String {
    nanoseconds.map { duration(nanoseconds: $0) } ?? "–"
  }

  static func bytes(_ value: Int) -> String {
    if value < 10_000 { return "\(count(UInt64(Swift.max(0, value)))) B" }
    return value < 10_000_000 ? "\(amount(Double(value) / 1_024)) KiB" : "\(amount(Double(value) / 1_048_576)) MiB"
  }

  /// A chance: 0.04123 → "0.041", and what is smaller than can be shown says so.
  static func chance(_ value: Double) -> String {
    value < 0.001 ? "<0.001" : decimals(value, value < 0.0995 ? 3 : 2)
  }

  /// 0.0123 → "1.23 %".
  static func percent(_ share: Double) -> String {
    guard share.isFinite else { return "–" }
    return "\(amount(share * 100)) %"
  }

  /// 1.234 → "1.23", 12.34 → "12.3", 123.4 → "123".
  private static func threeDigits(_ value: Double) -> String {
    let magnitude = value.magnitude
    if magnitude < 9.995 { return decimals(value, 2) }
    return decimals(value, magnitude < 99.95 ? 1 : 0)
  }

  /// A file of results may hold any number, and none of them may end the program that shows it.
  static func decimals(_ value: Double, _ places: Int) -> String {
    guard value.isFinite else { return "–" }
    let scale = (0..<places).reduce(1.0) { product, _ in product * 10 }
    let scaled = UInt64(Swift.min(value.magnitude * scale, 1e18).rounded())
    let whole = scaled / UInt64(scale)
    let sign = value < 0 && scaled > 0 ? "-" : ""
    guard places > 0 else { return "\(sign)\(whole)" }
    let fraction = String(scaled % UInt64(scale))
    return "\(sign)\(whole).\(String(repeating: "0", count: places - fraction.count))\(fraction)"
  }

  /// Pads to the right, so that columns line up. Counts characters, of which "µ" is one.
  static func padded(_ text: String, to width: Int) -> String {
    text + String(repeating: " ", count: Swift.max(0, width - text.count))
  }
}
