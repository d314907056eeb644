// Prometheus' text format, version 0.0.4.

struct MetricsText {
  private(set) var text = ""

  mutating func gauge(_ name: String, _ value: UInt64) { write(name, "gauge", "\(value)") }
  mutating func gauge(_ name: String, seconds value: Double) { write(name, "gauge", "\(value)") }
  mutating func counter(_ name: String, _ value: UInt64) { write(name, "counter", "\(value)") }
  mutating func counter(_ name: String, seconds value: Double) { write(name, "counter", "\(value)") }

  mutating func gauge(_ name: String, _ values: [(labels: [(String, String)], value: UInt64)]) {
    write(name, "gauge", values)
  }

  mutating func counter(_ name: String, _ values: [(labels: [(String, String)], value: UInt64)]) {
    write(name, "counter", values)
  }

  mutating func histogram(_ name: String, _ reading: LatencyBuckets.Reading) {
    text += "# TYPE \(name) histogram\n"
    var count: UInt64 = 0
    for (bound, inBucket) in zip(LatencyBuckets.boundsSeconds, reading.counts) {
      count += inBucket
      text += "\(name)_bucket{le=\"\(bound)\"} \(count)\n"
    }
    let total = reading.counts.reduce(0, +)
    text += "\(name)_bucket{le=\"+Inf\"} \(total)\n\(name)_sum \(reading.sumSeconds)\n\(name)_count \(total)\n"
  }

  mutating func histogram(_ name: String, _ readings: [(labels: [(String, String)], buckets: DurationBuckets)]) {
    text += "# TYPE \(name) histogram\n"
    for (labels, buckets) in readings {
      let label = Self.joined(labels)
      var count: UInt64 = 0
      for (bound, inBucket) in zip(DurationBuckets.boundsSeconds, buckets.counts) {
        count += inBucket
        text += "\(name)_bucket{\(label),le=\"\(bound)\"} \(count)\n"
      }
      let total = buckets.counts.reduce(0, +)
      text += "\(name)_bucket{\(label),le=\"+Inf\"} \(total)\n"
      text += "\(name)_sum{\(label)} \(Self.seconds(buckets.sumNanoseconds))\n\(name)_count{\(label)} \(total)\n"
    }
  }

  /// Every digit, so that sums of them still agree.
  private static func seconds(_ nanoseconds: UInt64) -> String {
    let fraction = String(nanoseconds % 1_000_000_000)
    return "\(nanoseconds / 1_000_000_000)." + String(repeating: "0", count: 9 - fraction.count) + fraction
  }

  private static func joined(_ labels: [(String, String)]) -> String {
    labels.map { "\($0)=\"\($1)\"" }.joined(separator: ",")
  }

  private mutating func write(_ name: String, _ type: String, _ value: String) {
    text += "# TYPE \(name) \(type)\n\(name) \(value)\n"
  }

  private mutating func write(_ name: String, _ type: String, _ values: [(labels: [(String, String)], value: UInt64)]) {
    text += "# TYPE \(name) \(type)\n"
    for (labels, value) in values {
      text += "\(name){\(Self.joined(labels))} \(value)\n"
    }
  }
}
