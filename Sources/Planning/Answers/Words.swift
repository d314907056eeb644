// Owns how figures are written in a plan: with the unit that a person would take, and no more digits than are true.

package enum Words {
  /// "1,234", "1.2".
  package static func count(_ value: Double) -> String {
    guard value.isFinite, abs(value) < 9e15 else { return "\(value)" }
    if value != value.rounded(), value < 100 { return decimal(value, places: value < 10 ? 2 : 1) }
    var digits = String(UInt64(abs(value).rounded()))
    var groups: [String] = []
    while digits.count > 3 {
      groups.insert(String(digits.suffix(3)), at: 0)
      digits.removeLast(3)
    }
    return (value < 0 ? "-" : "") + ([digits] + groups).joined(separator: ",")
  }

  /// "1.50 ms", from nanoseconds.
  package static func time(_ nanoseconds: Double) -> String {
    switch nanoseconds {
    case ..<1_000_000: "\(Int((nanoseconds / 1000).rounded())) µs"
    case ..<100_000_000: "\(decimal(nanoseconds / 1e6, places: 2)) ms"
    case ..<1_000_000_000: "\(Int((nanoseconds / 1e6).rounded())) ms"
    default: "\(decimal(nanoseconds / 1e9, places: 1)) s"
    }
  }

  package static func time(_ nanoseconds: UInt64?) -> String {
    nanoseconds.map { time(Double($0)) } ?? "too few samples"
  }

  /// "1.5 GiB".
  package static func bytes(_ value: Double) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
    var (amount, unit) = (value, 0)
    while amount >= 1024, unit + 1 < units.count {
      amount /= 1024
      unit += 1
    }
    return "\(unit == 0 || amount >= 100 ? count(amount.rounded()) : decimal(amount, places: 1)) \(units[unit])"
  }

  package static func percent(_ share: Double) -> String { "\(Int((share * 100).rounded())) %" }

  /// Seconds as a person says them.
  package static func span(_ seconds: Double) -> String {
    switch seconds {
    case ..<120: "\(decimal(seconds, places: seconds < 10 ? 1 : 0)) s"
    case ..<7200: "\(Int((seconds / 60).rounded())) min"
    case ..<172_800: "\(Int((seconds / 3600).rounded())) h"
    default: "\(count((seconds / 86_400).rounded())) days"
    }
  }

  package static func decimal(_ value: Double, places: Int) -> String {
    let factor = [1.0, 10, 100, 1000][min(places, 3)]
    let scaled = (abs(value) * factor).rounded()
    let whole = Int(scaled / factor)
    let sign = value < 0 && scaled > 0 ? "-" : ""
    guard places > 0 else { return "\(sign)\(whole)" }
    let fraction = String(Int(scaled - Double(whole) * factor))
    return "\(sign)\(whole)." + String(repeating: "0", count: max(0, places - fraction.count)) + fraction
  }
}
