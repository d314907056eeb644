// Owns the operations of one event loop: starting them, taking their answers, and counting.
//
// It must never do anything that the measured operation would wait for: no lock, no task, no hop to another thread
// between an answer and the next operation.
//
// Invariants: an operation ends exactly once, by its answer, its failure or its timeout; a latency is recorded for what was
// answered and no failure; what is wrong with an answer is counted whenever it comes.

import Measurement
import NIOCore
import Wire

/// What the controller collects of a loop now and then.
struct LoadSlice: Sendable {
  var warmUp: LoadFigures
  var measured: LoadFigures
  var inFlight: Int
  var lanesUp: Int
  /// When the last measured operation ended.
  var lastAnswerNanoseconds: UInt64
}

/// What one loop has of the whole load.
struct LoadShare: Sendable {
  /// Those of a closed loop.
  var clients = 0
  /// The share of the bound on operations in flight that an open loop has here.
  var maxInFlight = 0
  /// The share of the measured operations that a closed loop makes here. Nil without such a limit.
  var quota: UInt64?
}

/// `@unchecked Sendable`: everything mutable, the driver included, is touched on `eventLoop` only. Each entry asserts that.
final class LoadLoop<Driver: LoadDriver>: @unchecked Sendable, OperationSink {
  private let noClient = -1

  let eventLoop: any EventLoop
  let mailbox = ArrivalMailbox()
  private let frame: LoadFrame
  private let lanes: [Lane<Driver.Connection>]
  private let driver: Driver
  private let share: LoadShare
  private let callTimeoutNanoseconds: UInt64
  private var nextLane = 0
  private var operations = OperationTable()
  private var clients: ClosedClients
  private var quotaLeft: UInt64
  private var arrivals: [UInt64] = []
  private var warmUp: LoadFigures
  private var measured: LoadFigures
  private var lastAnswer: UInt64 = 0

  init(
    eventLoop: any EventLoop, lanes: [Lane<Driver.Connection>], driver: Driver, share: LoadShare,
    callTimeoutNanoseconds: UInt64, frame: LoadFrame
  ) {
    precondition(!lanes.isEmpty)
    self.eventLoop = eventLoop
    self.lanes = lanes
    self.driver = driver
    self.share = share
    self.callTimeoutNanoseconds = callTimeoutNanoseconds
    self.frame = frame
    clients = ClosedClients(count: share.clients, lanes: lanes.count)
    quotaLeft = share.quota ?? .max
    warmUp = LoadFigures(parts: driver.parts)
    measured = LoadFigures(parts: driver.parts)
  }

  // MARK: Starting operations

  /// Makes the driver ready on every connection, and again on each that comes back after a loss.
  func begin() -> EventLoopFuture<Void> {
    eventLoop.assertInEventLoop()
    let ready = lanes.enumerated().compactMap { index, lane in
      lane.onReturn = { [weak self] connection in self?.laneReturned(index, connection) }
      return lane.connection.map { driver.begin(on: $0, lane: index, self) }
    }
    return EventLoopFuture.andAllSucceed(ready, on: eventLoop)
  }

  /// Starts the clients of a closed loop.
  func startClients() {
    eventLoop.assertInEventLoop()
    for client in 0..<clients.count { startNext(client) }
  }

  /// Starts what the dispatcher has found due.
  func collectArrivals() {
    eventLoop.assertInEventLoop()
    mailbox.take(leaving: &arrivals)
    for intended in arrivals {
      guard operations.inFlight < share.maxInFlight else {
        count(at: intended) { $0.skipped += 1 }
        continue
      }
      start(client: noClient, lane: nextLane, intended: intended, now: MonotonicClock.nanoseconds())
      nextLane = nextLane + 1 == lanes.count ? 0 : nextLane + 1
    }
  }

  /// A client of a closed loop starts its next operation, unless the run is over for it.
  private func startNext(_ client: Int) {
    let now = MonotonicClock.nanoseconds()
    guard now < frame.until else { return }
    let lane = clients.lane(of: client)
    guard lanes[lane].isUp else {
      clients.park(client)
      return
    }
    if now >= frame.from {
      guard quotaLeft > 0 else { return }
      quotaLeft -= 1
    }
    start(client: client, lane: lane, intended: now, now: now)
  }

  private func laneReturned(_ lane: Int, _ connection: Driver.Connection) {
    eventLoop.assertInEventLoop()
    driver.begin(on: connection, lane: lane, self).assumeIsolated().whenComplete { _ in
      for client in self.clients.unpark(lane: lane) { self.startNext(client) }
    }
  }

  private func start(client: Int, lane: Int, intended: UInt64, now: UInt64) {
    count(at: intended) { figures in
      figures.started += 1
      guard client == noClient else { return }
      let lag = now > intended ? now - intended : 0
      figures.scheduleLag.record(nanoseconds: lag)
      if lag > LoadFigures.lateNanoseconds { figures.late += 1 }
    }
    let part = driver.drawPart()
    let ticket = operations.open(Operation(client: client, part: part, intended: intended, sent: now))
    guard let connection = lanes[lane].connectionForCall() else {
      ended(ticket, OperationEnding(.failed(lanes[lane].downReason)))
      return
    }
    // No deadline goes with a call: as a header it would cost the target work that other clients do not make it do.
    // `expire` ends what hangs.
    driver.start(
      OperationCall(ticket: ticket, client: client, part: part, intended: intended, sent: now), on: connection,
      lane: lane, self)
  }

  // MARK: Ending operations

  func ended(_ ticket: OperationTable.Ticket, _ ending: OperationEnding) {
    eventLoop.assertInEventLoop()
    // Nil when it has timed out already: it was counted then.
    guard let operation = operations.close(ticket) else { return }
    let now = MonotonicClock.nanoseconds()
    check(ending)
    switch ending.kind {
    case .succeeded: succeeded(operation, ending, now)
    case .refused: refused(operation, ending, now)
    case .failed(let status): failed(operation, status)
    }
    if frame.holds(operation.intended) { lastAnswer = now }
    guard operation.client != noClient else { return }
    if case .failed = ending.kind {
      // A target that refuses at once would otherwise be asked as fast as this machine can, which measures nothing.
      let client = operation.client
      let pause = TimeAmount.milliseconds(clients.failed(client))
      eventLoop.assumeIsolated().scheduleTask(in: pause) { self.startNext(client) }
    } else {
      clients.succeeded(operation.client)
      startNext(operation.client)
    }
  }

  /// A wrong answer counts whenever it comes: the warm-up is no excuse.
  private func check(_ ending: OperationEnding) {
    if case .failed = ending.kind, ending.violation == nil { return }
    measured.oracle.checked += 1
    guard let violation = ending.violation else { return }
    measured.oracle.violations += 1
    measured.oracle.firstViolation = measured.oracle.firstViolation ?? violation
  }

  private func succeeded(_ operation: Operation, _ ending: OperationEnding, _ now: UInt64) {
    let fromSend = ending.latencyNanoseconds ?? (now - operation.sent)
    let fromIntended = now > operation.intended ? now - operation.intended : 0
    count(at: operation.intended) { figures in
      figures.succeeded += 1
      figures.latencyFromSend.record(nanoseconds: fromSend)
      if operation.client == noClient { figures.latencyFromIntendedStart.record(nanoseconds: fromIntended) }
      if let time = ending.targetNanoseconds { figures.timeAtTarget.record(nanoseconds: time) }
      guard operation.part < figures.parts.count else { return }
      figures.parts[operation.part].succeeded += 1
      figures.parts[operation.part].latency.record(
        nanoseconds: operation.client == noClient ? fromIntended : fromSend)
    }
    if frame.holds(now) {
      measured.answeredWithin += 1
    } else if now < frame.from {
      warmUp.answeredWithin += 1
    }
  }

  private func refused(_ operation: Operation, _ ending: OperationEnding, _ now: UInt64) {
    count(at: operation.intended) { figures in
      figures.refused += 1
      figures.latencyOfRefusals.record(nanoseconds: ending.latencyNanoseconds ?? (now - operation.sent))
      if operation.part < figures.parts.count { figures.parts[operation.part].refused += 1 }
    }
  }

  private func failed(_ operation: Operation, _ status: RPCStatus) {
    count(at: operation.intended) { figures in
      figures.failed += 1
      figures.count(
        ErrorTally(code: status.code.rawValue, name: status.code.wireName, firstMessage: status.message))
      if operation.part < figures.parts.count { figures.parts[operation.part].failed += 1 }
    }
  }

  /// Counts an operation where it belongs by when it was due.
  private func count(at intended: UInt64, _ change: (inout LoadFigures) -> Void) {
    if intended >= frame.from {
      change(&measured)
    } else {
      change(&warmUp)
    }
  }

  // MARK: For the controller

  var isIdle: Bool {
    eventLoop.assertInEventLoop()
    return operations.inFlight == 0
  }

  /// Whether the clients of a closed loop have used up their share.
  var startsNoMore: Bool {
    eventLoop.assertInEventLoop()
    return quotaLeft == 0
  }

  /// Ends what has hung for too long and hands over what was counted since the last time.
  func takeSlice() -> LoadSlice {
    eventLoop.assertInEventLoop()
    expire(MonotonicClock.nanoseconds())
    defer {
      warmUp = LoadFigures(parts: driver.parts)
      measured = LoadFigures(parts: driver.parts)
    }
    driver.collect(into: &measured)
    return LoadSlice(
      warmUp: warmUp, measured: measured, inFlight: operations.inFlight, lanesUp: lanes.count { $0.isUp },
      lastAnswerNanoseconds: lastAnswer)
  }

  private func expire(_ now: UInt64) {
    guard now > callTimeoutNanoseconds else { return }
    for ticket in operations.tickets(sentBefore: now - callTimeoutNanoseconds) {
      let seconds = callTimeoutNanoseconds / 1_000_000_000
      driver.forget(ticket)
      let status = RPCStatus(.deadlineExceeded, "no answer within the call timeout of \(seconds) s")
      ended(ticket, OperationEnding(.failed(status)))
    }
  }

  /// Forgets what is still in flight, which the controller has counted.
  func forgetAll() {
    eventLoop.assertInEventLoop()
    for ticket in operations.tickets(sentBefore: .max) {
      driver.forget(ticket)
      _ = operations.close(ticket)
    }
    for lane in lanes { lane.onReturn = { _ in } }
  }
}
