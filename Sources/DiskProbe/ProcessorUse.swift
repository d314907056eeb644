// Owns how much of the processors others took while a cell was measured: a machine that was said to be idle is looked at.

import Glibc

/// Time of processors since some instant in the past.
struct ProcessorUse {
  private var allSeconds: Double
  private var ownSeconds: Double

  /// Nil where the kernel does not tell.
  static func now() -> ProcessorUse? {
    // The sum of all processors, in ticks: user, nice, system, idle, iowait, irq, softirq, steal (proc_stat(5)).
    guard let line = ProbedDisk.text(of: "/proc/stat")?.split(separator: "\n").first, line.hasPrefix("cpu ") else {
      return nil
    }
    let ticks = line.split(separator: " ").dropFirst().prefix(8).compactMap { Double($0) }
    guard ticks.count == 8 else { return nil }
    var usage = rusage()
    guard getrusage(RUSAGE_SELF.rawValue, &usage) == 0 else { return nil }
    return ProcessorUse(
      allSeconds: (ticks.reduce(0, +) - ticks[3] - ticks[4]) / Double(sysconf(Int32(_SC_CLK_TCK))),
      ownSeconds: seconds(usage.ru_utime) + seconds(usage.ru_stime))
  }

  private static func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }

  /// The part of all processors that was neither idle nor this process's own, between 0 and 1. Nil for a time so short
  /// that the kernel's ticks of 10 ms say nothing.
  func shareOfOthers(since start: ProcessorUse, seconds: Double) -> Double? {
    guard seconds >= 0.1 else { return nil }
    let others = allSeconds - start.allSeconds - (ownSeconds - start.ownSeconds)
    return min(max(others / (seconds * Double(ProbedDisk.processorCount)), 0), 1)
  }
}
