// Owns the runs of a search for the limit, and what this machine was busy with meanwhile.

package import Measurement

/// Offers rate after rate until the limit is found. Cancelling the task ends the search with what it has.
///
/// - Parameters:
///   - options: of each run. The rate of their shape is the first one that is tried.
///   - onTrial: called after each run.
package func findLimit(
  _ options: LoadOptions, objective: LoadObjective,
  onProgress: @escaping @Sendable (BenchProgress) -> Void = { _ in },
  onTrial: @Sendable (LimitTrial) -> Void = { _ in }
) async throws(WorkloadError) -> LimitResult {
  guard case .open(let process, let start, let bound) = options.shape else {
    throw WorkloadError(.badOptions, "a limit is searched with an open loop: give a rate to begin with, and no clients")
  }
  let target = try TargetCounters(of: options)
  let needed = objective.operationsNeeded
  if let total = options.totalOperations, Double(total) < needed {
    throw WorkloadError(
      .badOptions,
      "\(total) operations are too few to know p\(objective.percentile): \(Int(needed.rounded(.up))) are needed")
  }
  let longest = Swift.max(options.duration ?? .zero, options.longestTrial)
  var search = LimitSearch(startingAt: start, notBelow: needed / longest.seconds)
  var last: BenchResult?
  var stopped: String?
  while case .run(let rate) = search.step, !Task.isCancelled {
    var options = options
    options.shape = .open(process: process, ratePerSecond: rate, maxInFlight: bound)
    // A slow rate takes longer to show its percentile.
    options.duration = options.duration.map { Swift.max($0, .seconds(needed / rate)) }
    let (before, nodesBefore) = (HostCounters.read(options.targetDirectory), await target.read())
    let result: BenchResult
    do throws(WorkloadError) {
      result = try await runLoad(options, onProgress: onProgress)
    } catch {
      // What was found before is worth more than the error.
      guard last != nil, error.code != .badOptions else { throw error }
      if error.code != .interrupted { stopped = "at \(Int(rate)) operations a second: \(error)" }
      break
    }
    guard result.ending != .interrupted else { break }
    last = result
    var trial = LimitTrial(
      of: result, ratePerSecond: rate, objective: objective,
      usage: HostCounters.read(options.targetDirectory).usage(since: before))
    trial.nodes = target.usage(from: nodesBefore, to: await target.read())
    search.record(trial)
    onTrial(trial)
    if result.ending == .targetLost {
      stopped = "the target was lost at \(Int(rate)) operations a second; look at its log"
      break
    }
  }
  guard let last else {
    throw WorkloadError(.interrupted, "stopped before the first run of the search was over")
  }
  var found = LimitResult(of: search, last, objective: objective)
  found.stopped = stopped
  return found
}

extension Duration {
  fileprivate var seconds: Double { Double(wholeNanoseconds) / 1e9 }
}

/// What the kernel has counted since it started.
struct HostCounters {
  /// In ticks, of all processors.
  var busy: UInt64 = 0
  var idle: UInt64 = 0
  /// Milliseconds in which the disk of the directory had something to do.
  var disk: UInt64?
  var instant = MonotonicClock.nanoseconds()

  /// - Parameter directory: whose disk is looked at; nil is the working directory.
  static func read(_ directory: String?) -> HostCounters {
    var counters = HostCounters()
    if let line = KernelFile.text(at: "/proc/stat")?.split(separator: "\n").first {
      // proc(5): user, nice, system, idle, iowait, irq, softirq, steal. Who waits for a disk leaves the processor idle.
      let ticks = line.split(separator: " ").dropFirst().prefix(8).compactMap { UInt64($0) }
      for (place, count) in ticks.enumerated() {
        if place == 3 || place == 4 { counters.idle += count } else { counters.busy += count }
      }
    }
    counters.disk = diskMilliseconds(of: directory)
    return counters
  }

  /// Of the device that holds the directory. A partition's whole disk is not looked for: its own line counts too.
  private static func diskMilliseconds(of directory: String?) -> UInt64? {
    guard let path = KernelFile.path(of: directory),
      let mounts = KernelFile.text(at: "/proc/self/mountinfo"), let mount = Mount.holding(path, mountInfo: mounts),
      let table = KernelFile.text(at: "/proc/diskstats")
    else { return nil }
    let device = mount.device.split(separator: ":")
    for line in table.split(separator: "\n") {
      let fields = line.split(separator: " ")
      // iostats: major, minor, name, then the counters; the tenth is the time with requests in flight.
      if fields.count > 12, fields.prefix(2).elementsEqual(device) { return UInt64(fields[12]) }
    }
    return nil
  }

  func usage(since before: HostCounters) -> HostUsage? {
    let (busy, idle) = (busy &- before.busy, idle &- before.idle)
    guard busy + idle > 0 else { return nil }
    let elapsed = Double(instant - before.instant) / 1e6
    let disk = zip(disk, before.disk).map { Swift.min(1, Double($0 &- $1) / Swift.max(1, elapsed)) }
    return HostUsage(processors: Double(busy) / Double(busy + idle), disk: disk)
  }

  private func zip(_ one: UInt64?, _ other: UInt64?) -> (UInt64, UInt64)? {
    guard let one, let other else { return nil }
    return (one, other)
  }
}
