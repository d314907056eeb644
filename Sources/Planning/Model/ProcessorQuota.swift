// Owns what a machine may use of its processors where something gives it a quota of their time.
//
// A host gives a virtual machine, or a kernel a container, so much processor time in every period (Linux: CFS bandwidth control,
// `cpu.max`), and once it is used up the processors stand still until the period ends. A virtual machine with n processors has n
// periods' worth, which its own work can never exceed; but the host's work for it is paid from the same quota: what serves
// its disk, and the waiting of a processor with nothing to do, which for a while is done by looking again and again
// (KVM's halt polling). So a machine that is used to seven tenths and writes to its disk thousands of times a second is stopped for
// some milliseconds, up to ten times a second, and one that is used to nine tenths and writes less often hardly is.
//
// It must never stop a machine whose host does nothing for it: a cost of 0 for its flushes is a machine without quota (Holds.swift).

package struct ProcessorQuota {
  package static let periodNanoseconds: UInt64 = 100_000_000
  /// A processor takes so much of the quota at once.
  private static let sliceNanoseconds = 5_000_000.0

  /// What is left of this period for whoever asks first.
  private var pool: Double
  /// What each processor has taken of it and not used; the last is that of the host's own threads. Less than nothing is a debt.
  private var taken: [Double]
  private var period: UInt64 = 0
  private let ofPeriod: Double

  package init(processors: Int) {
    ofPeriod = Double(processors) * Double(Self.periodNanoseconds)
    pool = ofPeriod
    taken = Array(repeating: 0, count: processors + 1)
  }

  /// Uses up some of it.
  /// - Parameter processor: nil for the host's threads.
  /// - Returns: until when the processor stands still; nil where it goes on.
  package mutating func use(_ nanoseconds: Double, of processor: Int?, at now: UInt64) -> UInt64? {
    if now / Self.periodNanoseconds != period {
      period = now / Self.periodNanoseconds
      pool = ofPeriod
    }
    let place = processor ?? taken.count - 1
    taken[place] -= nanoseconds
    guard taken[place] < 0 else { return nil }
    let more = min(pool, Self.sliceNanoseconds - taken[place])
    pool -= more
    taken[place] += more
    return taken[place] >= 0 ? nil : (period + 1) * Self.periodNanoseconds
  }
}

/// How long a host keeps a processor that has nothing to do at hand by looking again and again: longer where that was worth it, and
/// shorter where it was not (KVM: halt_poll_ns and its grow and shrink).
package struct HaltPolling {
  private static let longest: UInt64 = 200_000
  private static let first: UInt64 = 10_000
  private var patience: UInt64 = 0

  package init() {}

  /// What was spent on looking in a rest of this length.
  package mutating func spent(inRestOf nanoseconds: UInt64) -> UInt64 {
    let spent = min(nanoseconds, patience)
    if nanoseconds > Self.longest {
      patience /= 2
    } else if nanoseconds > patience {
      patience = min(Self.longest, max(Self.first, 2 * patience))
    }
    return spent
  }
}
