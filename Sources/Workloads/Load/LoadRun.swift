// Owns the course of a run: warm-up, the measured part, the wait for what is still in flight.
//
// It must never decide anything on the way of an operation; it looks in a few times a second and the loops go on by
// themselves.

import Measurement
import NIOCore

/// How a run went.
struct LoadOutcome: Sendable {
  var ending: RunEnding
  var warmUp: WarmUpRecord
  var measured: LoadFigures
  var generator: GeneratorFigures
  var timeline: [TimelineSlice]
  var commits: CommitBreakdown?
}

private enum Pace {
  static let slice: UInt64 = 500_000_000
  static let warmUpSlice: UInt64 = 250_000_000
  /// How often a wait looks whether the run was cancelled or is done.
  static let look: UInt64 = 20_000_000
  /// Between deciding to measure and measuring: every thread must have seen the decision by then.
  static let announcement: UInt64 = 20_000_000
  /// How long an interrupted run still waits for answers. Whoever pressed Ctrl-C wants it to end.
  static let interruptedDrain: UInt64 = 500_000_000
}

struct LoadRun<Driver: LoadDriver> {
  private let plan: LoadPlan
  private let frame: LoadFrame
  private let loops: [LoadLoop<Driver>]
  private let dispatcher: ArrivalDispatcher?
  private let onProgress: @Sendable (BenchProgress) -> Void
  private var arrivalsEnded: EventLoopFuture<Void>?
  private var allDown: UInt64?
  private var warmUpTotal = LoadFigures()
  private var measured = LoadFigures()
  private var timeline: [TimelineSlice] = []

  init(
    plan: LoadPlan, frame: LoadFrame, loops: [LoadLoop<Driver>], dispatcher: ArrivalDispatcher?,
    onProgress: @escaping @Sendable (BenchProgress) -> Void
  ) {
    self.plan = plan
    self.frame = frame
    self.loops = loops
    self.dispatcher = dispatcher
    self.onProgress = onProgress
  }

  mutating func run() async throws(WorkloadError) -> LoadOutcome {
    if case .none = plan.warmUp { begin(at: MonotonicClock.nanoseconds()) }
    try startLoad()
    let (warmUp, earlyEnding) = await warmUp()
    guard earlyEnding == nil else {
      frame.until = MonotonicClock.nanoseconds()
      await drain(limit: Pace.interruptedDrain)
      return LoadOutcome(
        ending: earlyEnding ?? .completed, warmUp: warmUp, measured: measured,
        generator: GeneratorFigures(
          cpuNanoseconds: 0, durationNanoseconds: 0, operations: 0, busiestThreadShare: 0), timeline: [])
    }
    if warmUp.end != .skipped { begin(at: MonotonicClock.nanoseconds() + Pace.announcement) }
    let from = frame.from
    await pause(until: from)
    // Beside the load: a node that does not answer must not hold up the looks at it.
    let counted = Task { [nodes = plan.nodes] in await nodes.readCommits() }
    let before = await usage()
    let (ending, until) = await measure(from: from)
    frame.until = Swift.min(frame.until, until)
    let after = await usage()
    let recounted = Task { [nodes = plan.nodes] in await nodes.readCommits() }
    measured.durationNanoseconds = until > from ? until - from : 0
    let limit = ending == .completed ? plan.configuration.callTimeoutNanoseconds : Pace.interruptedDrain
    await drain(limit: limit)
    let commits = CommitCounters.breakdown(from: await counted.value, to: await recounted.value)
    return LoadOutcome(
      ending: ending, warmUp: warmUp, measured: measured, generator: after.figures(since: before, measured),
      timeline: timeline, commits: commits)
  }

  /// Sets the boundaries of the measured part.
  private func begin(at from: UInt64) {
    if let length = plan.configuration.durationNanoseconds { frame.until = from + length }
    frame.from = from
  }

  private mutating func startLoad() throws(WorkloadError) {
    guard let dispatcher else {
      for loop in loops { loop.eventLoop.execute { loop.startClients() } }
      return
    }
    let ended = loops[0].eventLoop.makePromise(of: Void.self)
    arrivalsEnded = ended.futureResult
    do throws(WorkloadError) {
      try dispatcher.start(atNanoseconds: MonotonicClock.nanoseconds(), finished: ended)
    } catch {
      ended.succeed()
      throw error
    }
  }

  // MARK: Warm-up

  private mutating func warmUp() async -> (WarmUpRecord, RunEnding?) {
    let start = MonotonicClock.nanoseconds()
    let (cap, isFixed): (UInt64, Bool)
    switch plan.warmUp {
    case .none: return (WarmUpRecord(end: .skipped, durationNanoseconds: 0, operations: 0), nil)
    case .fixed(let length): (cap, isFixed) = (length.wholeNanoseconds, true)
    case .untilSteady(let length): (cap, isFixed) = (length.wholeNanoseconds, false)
    }
    var steady = SteadyState()
    var last = start
    while true {
      _ = await wait(until: Swift.min(last + Pace.warmUpSlice, start + cap)) { false }
      let now = MonotonicClock.nanoseconds()
      let slices = await collect()
      let figures = slices.total(\.warmUp)
      warmUpTotal.merge(figures)
      measured.merge(slices.total(\.measured))
      warmUpTotal.oracle = measured.oracle
      report(.warmUp, figures, warmUpTotal, slices, since: last, phaseStart: start, end: isFixed ? start + cap : nil)
      let window = LoadWindow(
        operationsPerSecond: Double(figures.answeredWithin) * 1e9 / Double(Swift.max(1, now - last)),
        meanLatencyNanoseconds: figures.userLatency.mean)
      last = now
      let isSteady = steady.observe(window)
      func record(_ end: WarmUpRecord.End) -> WarmUpRecord {
        WarmUpRecord(end: end, durationNanoseconds: now - start, operations: warmUpTotal.succeeded)
      }
      if Task.isCancelled { return (record(.unfinished), .interrupted) }
      if isLost(slices, now) { return (record(.unfinished), .targetLost) }
      if !isFixed, isSteady { return (record(.steady), nil) }
      if now >= start + cap { return (record(isFixed ? .fixed : .cap), nil) }
    }
  }

  // MARK: The measured part

  /// Returns how it ended and when.
  private mutating func measure(from: UInt64) async -> (RunEnding, UInt64) {
    var last = from
    while true {
      let isDone = await wait(until: Swift.min(last + Pace.slice, frame.until)) { await isComplete() }
      let now = MonotonicClock.nanoseconds()
      let slices = await collect()
      take(slices, from: last, to: now, start: from)
      last = now
      if now >= frame.until { return (.completed, frame.until) }
      // The last answer is the end, and not when this looked in.
      if isDone { return (.completed, slices.map(\.lastAnswerNanoseconds).max() ?? now) }
      if Task.isCancelled { return (.interrupted, now) }
      if isLost(slices, now) { return (.targetLost, now) }
    }
  }

  private mutating func take(_ slices: [LoadSlice], from last: UInt64, to now: UInt64, start: UInt64) {
    let figures = slices.total(\.measured)
    let inFlight = slices.reduce(0) { $0 + $1.inFlight }
    measured.merge(figures)
    measured.highestInFlight = Swift.max(measured.highestInFlight, inFlight)
    measured.inFlightAtEnd = inFlight
    timeline.append(
      TimelineSlice(
        endNanoseconds: now - start, durationNanoseconds: now - last, succeeded: figures.answeredWithin,
        failed: figures.failed, inFlight: inFlight, latency: figures.userLatency))
    let end = plan.configuration.durationNanoseconds.map { start + $0 }
    report(.measuring, figures, measured, slices, since: last, phaseStart: start, end: end)
  }

  /// Whether the number of operations that was asked for has been reached and answered.
  private func isComplete() async -> Bool {
    guard plan.configuration.totalOperations != nil else { return false }
    if let dispatcher, !dispatcher.hasHandedOverAll { return false }
    // What the dispatcher has handed over came to the loops before this question does, so it is in flight or over.
    let isOpen = dispatcher != nil
    for loop in loops {
      let isOver = try? await loop.eventLoop.submit { loop.isIdle && (isOpen || loop.startsNoMore) }.get()
      guard isOver == true else { return false }
    }
    return true
  }

  /// Whether no connection has been up for as long as the run has patience.
  private mutating func isLost(_ slices: [LoadSlice], _ now: UInt64) -> Bool {
    guard slices.allSatisfy({ $0.lanesUp == 0 }) else {
      allDown = nil
      return false
    }
    let since = allDown ?? now
    allDown = since
    return now - since >= plan.reconnectPatienceNanoseconds
  }

  // MARK: Draining

  /// Waits for the answers to what is in flight, and then for the dispatcher.
  private mutating func drain(limit: UInt64) async {
    let start = MonotonicClock.nanoseconds()
    var last = start
    while true {
      let slices = await collect()
      let figures = slices.total(\.measured)
      measured.merge(figures)
      let now = MonotonicClock.nanoseconds()
      // One look beyond the timeout, so that it is the timeout that ends what hangs.
      let isOver = slices.allSatisfy { $0.inFlight == 0 } || now - start > limit + Pace.slice
      if isOver { break }
      if now - last >= Pace.slice {
        report(.draining, figures, measured, slices, since: last, phaseStart: start, end: start + limit)
        last = now
      }
      await pause(until: now + Pace.look)
    }
    try? await arrivalsEnded?.get()
    let unanswered = await collect().reduce(0) { $0 + UInt64($1.inFlight) }
    let ended = measured.succeeded + measured.refused + measured.failed
    measured.unanswered += Swift.min(unanswered, measured.started - ended)
  }

  // MARK: Looking in

  private func collect() async -> [LoadSlice] {
    var slices: [LoadSlice] = []
    for loop in loops {
      if let slice = try? await loop.eventLoop.submit({ loop.takeSlice() }).get() { slices.append(slice) }
    }
    return slices
  }

  /// Waits, and returns early with true when `isDone`, or with false when the task was cancelled.
  private func wait(until instant: UInt64, or isDone: () async -> Bool) async -> Bool {
    while !Task.isCancelled {
      if await isDone() { return true }
      let now = MonotonicClock.nanoseconds()
      guard now < instant else { return false }
      await pause(until: Swift.min(instant, now + Pace.look))
    }
    return false
  }

  /// On an event loop's timer, because the tasks' own sleep returns at once in a task that was cancelled, and a drain
  /// goes on in one.
  private func pause(until instant: UInt64) async {
    let deadline = NIODeadline.uptimeNanoseconds(instant)
    try? await loops[0].eventLoop.scheduleTask(deadline: deadline) {}.futureResult.get()
  }

  private func report(
    _ phase: BenchProgress.Phase, _ slice: LoadFigures, _ total: LoadFigures, _ slices: [LoadSlice],
    since last: UInt64, phaseStart: UInt64, end: UInt64?
  ) {
    let now = MonotonicClock.nanoseconds()
    var progress = BenchProgress(
      scenario: plan.configuration.operation.name, phase: phase, elapsedNanoseconds: now - phaseStart,
      remainingNanoseconds: end.map { $0 > now ? $0 - now : 0 })
    progress.show(
      slice: slice, sliceNanoseconds: now - last, total: total, inFlight: slices.reduce(0) { $0 + $1.inFlight })
    if case .open(_, let rate, _) = plan.configuration.shape { progress.offeredPerSecond = rate }
    onProgress(progress)
  }

  // MARK: The generator's own share

  private struct Usage {
    var instant: UInt64
    var process: UInt64
    var threads: [UInt64]

    func figures(since before: Usage, _ measured: LoadFigures) -> GeneratorFigures {
      let duration = Swift.max(1, instant - before.instant)
      let busiest = zip(threads, before.threads).map { $0 > $1 ? $0 - $1 : 0 }.max() ?? 0
      return GeneratorFigures(
        cpuNanoseconds: process - before.process, durationNanoseconds: duration,
        operations: measured.answeredWithin + measured.refused + measured.failed,
        busiestThreadShare: Double(busiest) / Double(duration))
    }
  }

  private func usage() async -> Usage {
    var threads: [UInt64] = []
    for loop in loops {
      let used = try? await loop.eventLoop.submit { MonotonicClock.threadCPUNanoseconds() }.get()
      threads.append(used ?? 0)
    }
    if let dispatcher { threads.append(dispatcher.threadCPUNanoseconds) }
    return Usage(
      instant: MonotonicClock.nanoseconds(), process: MonotonicClock.processCPUNanoseconds(), threads: threads)
  }
}

extension [LoadSlice] {
  fileprivate func total(_ part: KeyPath<LoadSlice, LoadFigures>) -> LoadFigures {
    reduce(into: LoadFigures()) { $0.merge($1[keyPath: part]) }
  }
}
