// Owns how often, and for how long, this machine takes a processor away from whoever has it: the kernel's own threads, and what
// lies below a virtual machine. Measured by threads that do nothing but look at the clock.
//
// It must never run beside a load: it would count the load.

import Foundation
import Glibc

package struct Stalls: Sendable, Codable {
  package var perSecond = 0.0
  package var meanNanoseconds = 0.0

  /// What is shorter is a tick of the kernel, or an interrupt: it is in the costs of the work that it falls into.
  static let shortestNanoseconds: UInt64 = 500_000

  /// - Parameter seconds: of looking, on every processor at once.
  static func measure(processors: Int, seconds: Double) async -> Stalls {
    let lengths = await withTaskGroup(of: [UInt64].self) { group in
      for _ in 0..<processors { group.addTask { await gaps(nanoseconds: UInt64(seconds * 1e9)) } }
      return await group.reduce(into: []) { $0 += $1 }
    }
    guard !lengths.isEmpty else { return Stalls() }
    return Stalls(
      perSecond: Double(lengths.count) / seconds, meanNanoseconds: Double(lengths.reduce(0, +)) / Double(lengths.count))
  }

  /// Of several times of the same length.
  static func mean(_ all: [Stalls]) -> Stalls {
    let number = all.reduce(0) { $0 + $1.perSecond }
    guard number > 0 else { return Stalls() }
    let length = all.reduce(0) { $0 + $1.perSecond * $1.meanNanoseconds }
    return Stalls(perSecond: number / Double(all.count), meanNanoseconds: length / number)
  }

  /// On a thread of its own, for the cooperative pool has no more of them than there are processors.
  private static func gaps(nanoseconds length: UInt64) async -> [UInt64] {
    await withCheckedContinuation { continuation in
      Thread.detachNewThread {
        var found: [UInt64] = []
        var last = MonotonicReading.nanoseconds
        let end = last + length
        while last < end {
          let now = MonotonicReading.nanoseconds
          if now - last >= shortestNanoseconds { found.append(now - last) }
          last = now
        }
        continuation.resume(returning: found)
      }
    }
  }
}

enum MonotonicReading {
  static var nanoseconds: UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
  }
}
