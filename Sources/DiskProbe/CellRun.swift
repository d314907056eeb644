// Owns how one cell is measured: the threads that write, the threads that only keep processors busy, and when all end.
//
// Nothing is timed before every writer is ready, and no sample is taken after the first writer is done: all samples of
// a cell were taken under the load that the cell names. Each writer counts for itself and hands its samples over once,
// at its end, so that no lock is in the measured loop.

import Dispatch
import Glibc
import LogStorage
import Synchronization

/// Asks a measurement to end early, with what it has. Any thread.
package final class ProbeCancellation: Sendable {
  private let isSet = Atomic(false)

  package init() {}

  package func cancel() { isSet.store(true, ordering: .relaxed) }

  package var isCancelled: Bool { isSet.load(ordering: .relaxed) }
}

final class CellRun: Sendable {
  /// The first commits make a file known to the file system and caches warm, which no later one does.
  private static let warmUpCommits = 16

  private struct Outcome {
    var commits: [UInt64] = []
    var flushes: [UInt64] = []
    var failure: ProbeError?
  }

  private let cell: FlushCell
  private let directory: String
  private let commits: Int
  private let limitNanoseconds: UInt64
  private let cancellation: ProbeCancellation
  private let ready = DispatchSemaphore(value: 0)
  private let go = DispatchSemaphore(value: 0)
  private let started = Atomic(0)
  private let isOver = Atomic(false)
  private let outcome = Mutex(Outcome())

  init(
    _ cell: FlushCell, in directory: String, commits: Int, limitNanoseconds: UInt64, cancellation: ProbeCancellation
  ) {
    self.cell = cell
    self.directory = directory
    self.commits = commits
    self.limitNanoseconds = limitNanoseconds
    self.cancellation = cancellation
  }

  /// Blocks until the cell is measured. Nil when it was cancelled before there was a sample.
  func take() throws(ProbeError) -> FlushSeries? {
    let writers = (0..<cell.writers).map { number in
      WriterThread(name: "probe-\(number)") { self.run(number) }
    }
    for _ in writers { ready.wait() }
    if outcome.withLock({ $0.failure != nil }) { isOver.store(true, ordering: .relaxed) }
    let busy = cell.processors == .busy ? BusyProcessors() : nil
    let use = ProcessorUse.now()
    let began = MonotonicClock.nanoseconds()
    for _ in writers { go.signal() }
    for writer in writers { writer.join() }
    let elapsed = MonotonicClock.nanoseconds() - began
    let share = use.flatMap { ProcessorUse.now()?.shareOfOthers(since: $0, seconds: Double(elapsed) / 1e9) }
    busy?.stop()
    let found = outcome.withLock { $0 }
    if let failure = found.failure { throw failure }
    guard !found.commits.isEmpty else { return nil }
    return FlushSeries(
      cell: cell, commit: FlushDistribution(nanoseconds: found.commits),
      flush: found.flushes.isEmpty ? nil : FlushDistribution(nanoseconds: found.flushes),
      elapsedNanoseconds: elapsed, shareOfOthers: share)
  }

  private func run(_ number: Int) {
    let prepared = Result { () throws(ProbeError) in try prepare(number) }
    if case .failure(let error) = prepared { fail(error) }
    ready.signal()
    go.wait()
    guard case .success(var target) = prepared else { return }
    defer { target.close() }
    // A disk that answers in a microsecond would be done with one writer before the others have been woken.
    started.add(1, ordering: .relaxed)
    while started.load(ordering: .relaxed) < cell.writers, !isOver.load(ordering: .relaxed) { sched_yield() }
    do throws(ProbeError) {
      try measure(&target)
    } catch {
      fail(error)
    }
  }

  private func prepare(_ number: Int) throws(ProbeError) -> any ProbedTarget {
    let path = "\(directory)/\(cell.subject.rawValue)-\(number)"
    var target: any ProbedTarget =
      try cell.subject == .file ? ProbedFile(cell, path: path) : ProbedLog(cell, path: path)
    do throws(ProbeError) {
      for _ in 0..<min(Self.warmUpCommits, commits) where !cancellation.isCancelled { _ = try target.commit() }
    } catch {
      target.close()
      throw error
    }
    return target
  }

  private func measure(_ target: inout any ProbedTarget) throws(ProbeError) {
    let interval = UInt64(cell.intervalMicroseconds) * 1000
    var mine = Outcome()
    mine.commits.reserveCapacity(commits)
    mine.flushes.reserveCapacity(commits)
    let began = MonotonicClock.nanoseconds()
    var due = began
    for _ in 0..<commits {
      if interval > 0 { sleep(untilNanoseconds: due) }
      guard !isOver.load(ordering: .relaxed), !cancellation.isCancelled else { break }
      let times = try target.commit()
      mine.commits.append(times.endedNanoseconds - times.beganNanoseconds)
      if let flushBegan = times.flushBeganNanoseconds { mine.flushes.append(times.endedNanoseconds - flushBegan) }
      guard times.endedNanoseconds - began < limitNanoseconds else { break }
      // A commit longer than the interval is followed by a rest, not by a burst to catch up.
      due = max(due + interval, times.endedNanoseconds + interval / 2)
    }
    isOver.store(true, ordering: .relaxed)
    outcome.withLock { [mine] outcome in
      outcome.commits += mine.commits
      outcome.flushes += mine.flushes
    }
  }

  private func fail(_ error: ProbeError) {
    isOver.store(true, ordering: .relaxed)
    outcome.withLock { if $0.failure == nil { $0.failure = error } }
  }
}

/// A thread for each processor that never rests, as on a machine where others have work as well.
private final class BusyProcessors: Sendable {
  private let isOver: Flag
  private let threads: [WriterThread]

  /// The threads hold this and not their owner, which waits for them.
  private final class Flag: Sendable {
    let isSet = Atomic(false)
  }

  init() {
    let isOver = Flag()
    self.isOver = isOver
    threads = (0..<max(1, ProbedDisk.processorCount)).map { number in
      WriterThread(name: "busy-\(number)") {
        while !isOver.isSet.load(ordering: .relaxed) {}
      }
    }
  }

  func stop() {
    isOver.isSet.store(true, ordering: .relaxed)
    for thread in threads { thread.join() }
  }
}

/// Sleeps to an instant and not for a while, so that being late once does not make everything later.
private func sleep(untilNanoseconds instant: UInt64) {
  var deadline = timespec(tv_sec: Int(instant / 1_000_000_000), tv_nsec: Int(instant % 1_000_000_000))
  while clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &deadline, nil) == EINTR {}
}
