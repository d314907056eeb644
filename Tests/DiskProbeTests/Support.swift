// Synthetic disks: distributions of a known shape, the same in every run.

import DiskProbe
import Glibc
import Measurement

enum Synthetic {
  /// Latencies around `median`, whose logarithm is normal with this deviation: what a disk with one mode looks like.
  static func logNormal(
    medianMicroseconds median: Double, deviation: Double, count: Int, seed: UInt64 = 1
  ) -> [UInt64] {
    var random = SeededRandom(seed: seed)
    return (0..<count).map { _ in
      let radius = sqrt(-2 * log(1 - random.unitInterval()))
      let normal = radius * cos(2 * .pi * random.unitInterval())
      return UInt64(median * exp(deviation * normal) * 1000)
    }
  }

  static func same(microseconds: UInt64, count: Int) -> [UInt64] {
    [UInt64](repeating: microseconds * 1000, count: count)
  }

  /// A cell whose flush took `samples`; the write before it is as long as the control's.
  static func series(_ cell: FlushCell, _ samples: [UInt64]) -> FlushSeries {
    let flushes = cell.method == .fdatasync
    return FlushSeries(
      cell: cell, commit: FlushDistribution(nanoseconds: flushes ? samples.map { $0 + 3000 } : samples),
      flush: flushes ? FlushDistribution(nanoseconds: samples) : nil, elapsedNanoseconds: 1_000_000)
  }
}

/// A directory that is to be empty at its end: removing works only then.
final class EmptyDirectory: Sendable {
  let path: String

  init() throws {
    var template = Array("/tmp/portcullis-probe-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw ProbeError.system(operation: "making", path: "/tmp", code: errno) }
    path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  func remove() -> Bool { rmdir(path) == 0 }
}
