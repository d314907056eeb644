// A length of time as etcd's flags have it: numbers with units, one behind another, such as 10m, 1h30m or 1.5s.

import ArgumentParser

struct GoDuration: ExpressibleByArgument {
  let milliseconds: Int64
  let defaultValueDescription: String

  init?(argument: String) {
    var total = 0.0
    var rest = argument[...]
    guard !rest.isEmpty else { return nil }
    while !rest.isEmpty {
      let number = rest.prefix { $0.isNumber || $0 == "." }
      rest = rest.dropFirst(number.count)
      let unit = rest.prefix { $0.isLetter }
      rest = rest.dropFirst(unit.count)
      guard let count = Double(number), let factor = Self.milliseconds[String(unit)] else { return nil }
      total += count * factor
    }
    // At least one millisecond, and no more than a node can count.
    guard total >= 1, total < 1e15 else { return nil }
    milliseconds = Int64(total)
    defaultValueDescription = argument
  }

  private static let milliseconds: [String: Double] = [
    "ns": 1e-6, "us": 1e-3, "µs": 1e-3, "ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000,
  ]
}
