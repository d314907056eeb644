// Owns the operations of one event loop: starting them, taking their answers, and counting.
//
// It must never do anything that the measured operation would wait for: no lock, no task, no hop to another thread
// between an answer and the next operation.
//
// Invariants: an operation ends exactly once, by its answer, its failure or its timeout; a latency is recorded for
// successes alone; every answer is checked against the highest revision that this loop had seen when it sent.

import Measurement
import NIOCore
import Protocol
import Wire

/// `@unchecked Sendable`: everything mutable is touched on `eventLoop` only. Each entry asserts that.
final class LoadLoop: @unchecked Sendable {
  /// What the controller collects now and then.
  struct Slice: Sendable {
    var warmUp: LoadFigures
    var measured: LoadFigures
    var inFlight: Int
    var lanesUp: Int
    /// When the last measured operation ended.
    var lastAnswerNanoseconds: UInt64
  }

  struct Setting {
    var template: PutTemplate
    var keys: KeySequence
    var callTimeoutNanoseconds: UInt64
    /// The share of the bound on operations in flight that an open loop has here.
    var maxInFlight: Int
    /// The share of the measured operations that a closed loop makes here. Nil without such a limit.
    var quota: UInt64?
  }

  private static let noClient = -1

  let eventLoop: any EventLoop
  let mailbox = ArrivalMailbox()
  private let frame: LoadFrame
  private let lanes: [Lane]
  private let setting: Setting
  private var keys: KeySequence
  private var nextLane = 0
  private var operations = OperationTable()
  private var clients: ClosedClients
  private var quotaLeft: UInt64
  private var arrivals: [UInt64] = []
  private var warmUp = LoadFigures()
  private var measured = LoadFigures()
  private var highestRevision: Int64 = 0
  private var lastAnswer: UInt64 = 0

  init(eventLoop: any EventLoop, lanes: [Lane], clients: Int, setting: Setting, frame: LoadFrame) {
    precondition(!lanes.isEmpty)
    self.eventLoop = eventLoop
    self.lanes = lanes
    self.setting = setting
    self.frame = frame
    self.clients = ClosedClients(count: clients, lanes: lanes.count)
    keys = setting.keys
    quotaLeft = setting.quota ?? .max
  }

  // MARK: Starting operations

  /// Starts the clients of a closed loop.
  func startClients() {
    eventLoop.assertInEventLoop()
    for (index, lane) in lanes.enumerated() {
      lane.onReturn = { [weak self] in self?.laneReturned(index) }
    }
    for client in 0..<clients.count { startNext(client) }
  }

  /// Starts what the dispatcher has found due.
  func collectArrivals() {
    eventLoop.assertInEventLoop()
    mailbox.take(leaving: &arrivals)
    for intended in arrivals {
      guard operations.inFlight < setting.maxInFlight else {
        count(at: intended) { $0.skipped += 1 }
        continue
      }
      start(client: Self.noClient, lane: nextLane, intended: intended, now: MonotonicClock.nanoseconds())
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

  private func laneReturned(_ lane: Int) {
    eventLoop.assertInEventLoop()
    for client in clients.unpark(lane: lane) { startNext(client) }
  }

  private func start(client: Int, lane: Int, intended: UInt64, now: UInt64) {
    count(at: intended) { figures in
      figures.started += 1
      guard client == Self.noClient else { return }
      let lag = now > intended ? now - intended : 0
      figures.scheduleLag.record(nanoseconds: lag)
      if lag > LoadFigures.lateNanoseconds { figures.late += 1 }
    }
    let ticket = operations.open(
      Operation(client: client, intended: intended, sent: now, revisionBefore: highestRevision))
    guard let connection = lanes[lane].connectionForCall() else {
      ended(ticket, .failure(lanes[lane].downReason))
      return
    }
    // No deadline goes with the call: as a header it would cost the target work that other clients do not make it do.
    // `expire` ends what hangs.
    connection.unary(RPCPath.KV.put, setting.template.request(forKey: keys.next())) { result in
      self.ended(ticket, result)
    }
  }

  // MARK: Ending operations

  private func ended(_ ticket: OperationTable.Ticket, _ result: Result<ByteBuffer, RPCStatus>) {
    eventLoop.assertInEventLoop()
    // Nil when it has timed out already: it was counted then.
    guard let operation = operations.close(ticket) else { return }
    let now = MonotonicClock.nanoseconds()
    switch result {
    case .success(let answer):
      succeeded(operation, answer, now)
    case .failure(let status):
      failed(operation, status)
    }
    if frame.holds(operation.intended) { lastAnswer = now }
    guard operation.client != Self.noClient else { return }
    if case .success = result {
      clients.succeeded(operation.client)
      startNext(operation.client)
    } else {
      // A target that refuses at once would otherwise be asked as fast as this machine can, which measures nothing.
      let client = operation.client
      let pause = TimeAmount.milliseconds(clients.failed(client))
      eventLoop.assumeIsolated().scheduleTask(in: pause) { self.startNext(client) }
    }
  }

  private func succeeded(_ operation: Operation, _ answer: ByteBuffer, _ now: UInt64) {
    let violation = check(PutAnswer.revision(in: answer), after: operation.revisionBefore)
    count(at: operation.intended) { figures in
      figures.succeeded += 1
      figures.latencyFromSend.record(nanoseconds: now - operation.sent)
      if operation.client == Self.noClient {
        figures.latencyFromIntendedStart.record(nanoseconds: now > operation.intended ? now - operation.intended : 0)
      }
    }
    // A wrong answer counts whenever it comes: the warm-up is no excuse.
    measured.oracle.checked += 1
    if let violation {
      measured.oracle.violations += 1
      measured.oracle.firstViolation = measured.oracle.firstViolation ?? violation
    }
    if frame.holds(now) {
      measured.answeredWithin += 1
    } else if now < frame.from {
      warmUp.answeredWithin += 1
    }
  }

  /// A put that was sent after another was answered comes after it, so its revision is higher: for one client, and in a
  /// linearizable store for all that share this loop.
  private func check(_ revision: Int64?, after before: Int64) -> String? {
    guard let revision, revision > 0 else { return "an answer without a revision, after \(before)" }
    if revision > highestRevision { highestRevision = revision }
    return revision > before ? nil : "revision \(revision) for a put that was sent after \(before) had been answered"
  }

  private func failed(_ operation: Operation, _ status: RPCStatus) {
    count(at: operation.intended) { figures in
      figures.failed += 1
      figures.count(
        ErrorTally(code: status.code.rawValue, name: status.code.wireName, firstMessage: status.message))
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
  func takeSlice() -> Slice {
    eventLoop.assertInEventLoop()
    expire(MonotonicClock.nanoseconds())
    defer {
      warmUp = LoadFigures()
      measured = LoadFigures()
    }
    return Slice(
      warmUp: warmUp, measured: measured, inFlight: operations.inFlight, lanesUp: lanes.count { $0.isUp },
      lastAnswerNanoseconds: lastAnswer)
  }

  private func expire(_ now: UInt64) {
    guard now > setting.callTimeoutNanoseconds else { return }
    for ticket in operations.tickets(sentBefore: now - setting.callTimeoutNanoseconds) {
      let seconds = setting.callTimeoutNanoseconds / 1_000_000_000
      ended(ticket, .failure(RPCStatus(.deadlineExceeded, "no answer within the call timeout of \(seconds) s")))
    }
  }

  /// Forgets what is still in flight, which the controller has counted, and closes the connections.
  func close() {
    eventLoop.assertInEventLoop()
    for ticket in operations.tickets(sentBefore: .max) { _ = operations.close(ticket) }
    for lane in lanes { lane.close() }
  }
}

extension RPCCode {
  /// The name that gRPC's specification has for the code.
  var wireName: String {
    switch self {
    case .ok: "OK"
    case .cancelled: "CANCELLED"
    case .unknown: "UNKNOWN"
    case .invalidArgument: "INVALID_ARGUMENT"
    case .deadlineExceeded: "DEADLINE_EXCEEDED"
    case .notFound: "NOT_FOUND"
    case .alreadyExists: "ALREADY_EXISTS"
    case .permissionDenied: "PERMISSION_DENIED"
    case .resourceExhausted: "RESOURCE_EXHAUSTED"
    case .failedPrecondition: "FAILED_PRECONDITION"
    case .aborted: "ABORTED"
    case .outOfRange: "OUT_OF_RANGE"
    case .unimplemented: "UNIMPLEMENTED"
    case .internalError: "INTERNAL"
    case .unavailable: "UNAVAILABLE"
    case .dataLoss: "DATA_LOSS"
    case .unauthenticated: "UNAUTHENTICATED"
    }
  }
}
