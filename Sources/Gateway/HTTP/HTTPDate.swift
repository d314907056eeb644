// The Date field of an answer (RFC 9110, section 5.6.7), made once a second on each connection.

import FencedSQLite
import Glibc

struct HTTPDate {
  private static let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
  private static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

  private var seconds: Int64 = .min
  private var text = ""

  /// The time of the wall clock.
  mutating func now() -> String {
    let now = WallClock.seconds
    if now != seconds { (seconds, text) = (now, Self.text(seconds: now)) }
    return text
  }

  /// - Parameter seconds: since 1970, UTC.
  static func text(seconds: Int64) -> String {
    var (time, parts) = (time_t(seconds), tm())
    gmtime_r(&time, &parts)
    func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
    return "\(days[Int(parts.tm_wday)]), \(two(parts.tm_mday)) \(months[Int(parts.tm_mon)]) \(parts.tm_year + 1900) "
      + "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec)) GMT"
  }
}
