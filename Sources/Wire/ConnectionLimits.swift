// What one HTTP/2 connection may make this node hold, and for how long. Everything here is about peers that do not do their
// part: they announce and do not send, ask and do not read, or connect and do nothing.
//
// None of it is on the way of a call that comes whole in one read and has a small answer, but for storing one number.

import Logging
import NIOCore
import NIOHTTP2
import Synchronization

/// What all connections of a server hold together. Any thread.
final class WireBudget: Sendable {
  private let requestBytes = Atomic<Int>(0)
  private let answerBytes = Atomic<Int>(0)
  private let streamingCalls = Atomic<Int>(0)

  func addRequestBytes(_ count: Int) -> Int { self.requestBytes.add(count, ordering: .relaxed).newValue }
  func addAnswerBytes(_ count: Int) -> Int { self.answerBytes.add(count, ordering: .relaxed).newValue }

  func openStreamingCall(limit: Int) -> Bool {
    if self.streamingCalls.add(1, ordering: .relaxed).newValue <= limit { return true }
    self.closeStreamingCall()
    return false
  }

  func closeStreamingCall() { self.streamingCalls.subtract(1, ordering: .relaxed) }
}

/// Asks connections that do nothing to make room for others.
struct ConnectionsShortEvent: Sendable {}

/// Has the connections of an event loop look around, with one timer for all of them: thousands of timers would take a good part
/// of a processor from a node on which nothing happens.
///
/// `@unchecked Sendable` holds because, after `init`, everything but the immutable properties is touched on `eventLoop` alone.
final class Lookout: @unchecked Sendable {
  private let eventLoop: any EventLoop
  private let interval: TimeAmount
  private var connections: [ObjectIdentifier: ServerConnection] = [:]
  private var isRunning = false

  init(eventLoop: any EventLoop, interval: TimeAmount) {
    self.eventLoop = eventLoop
    self.interval = interval
  }

  func add(_ connection: ServerConnection) {
    self.eventLoop.assertInEventLoop()
    self.connections[ObjectIdentifier(connection)] = connection
    guard !self.isRunning else { return }
    self.isRunning = true
    self.schedule()
  }

  func remove(_ connection: ServerConnection) {
    self.eventLoop.assertInEventLoop()
    self.connections[ObjectIdentifier(connection)] = nil
  }

  private func schedule() {
    _ = self.eventLoop.assumeIsolated().scheduleTask(in: self.interval) {
      for connection in Array(self.connections.values) { connection.lookAround() }
      self.isRunning = !self.connections.isEmpty
      if self.isRunning { self.schedule() }
    }
  }
}

/// One connection's part. Used on its event loop alone.
struct ConnectionAccount {
  /// Answers up to this size are bounded by the number of streams, and not counted one by one.
  static let smallAnswerBytes = 4 * 1024

  let budget: WireBudget
  let coalescer: WriteCoalescer
  var unfinishedRequestBytes = 0
  var unreadAnswerBytes = 0
  /// Looks since the connection began, which is how it tells time: reading a clock for each call would cost more.
  var look = 0
  var lastUsedAtLook = 0
  /// Since when too little was taken of what waits, and how much had been taken then.
  var stalledAtLook: Int?
  var takenBytes = 0
  let lookout: Lookout

  init(budget: WireBudget, coalescer: WriteCoalescer, lookout: Lookout) {
    self.budget = budget
    self.coalescer = coalescer
    self.lookout = lookout
  }

  /// Counts what is held of a call's request now; false when it is too much.
  mutating func hold(_ call: ServerCall, limits: WireLimits) -> Bool {
    let held = call.heldRequestBytes
    let change = held - call.accountedBytes
    guard change != 0 else { return true }
    call.accountedBytes = held
    self.unfinishedRequestBytes += change
    let inAll = self.budget.addRequestBytes(change)
    return self.unfinishedRequestBytes <= limits.unfinishedRequestBytes && inAll <= limits.unfinishedRequestBytesInAll
  }

  /// The request is whole, or given up.
  mutating func release(_ call: ServerCall) {
    guard call.accountedBytes != 0 else { return }
    self.unfinishedRequestBytes -= call.accountedBytes
    _ = self.budget.addRequestBytes(-call.accountedBytes)
    call.accountedBytes = 0
  }

  mutating func forget(_ call: ServerCall) {
    self.release(call)
    if !call.endsItsRequest { self.budget.closeStreamingCall() }
  }
}

extension RPCStatus {
  /// etcd's words for a client that asks for more than it may.
  static let tooManyRequests = RPCStatus(.resourceExhausted, "etcdserver: too many requests")
  static let unreadAnswers = RPCStatus(
    .resourceExhausted,
    "etcdserver: too many requests: too many bytes of earlier answers wait for this client to read them")
}

extension ServerConnection {
  // MARK: What is held

  func hold(_ call: ServerCall) {
    if !self.account.hold(call, limits: self.limits) { call.refuse(.tooManyRequests) }
  }

  /// Counts a large answer until the kernel has it; nil when too much waits already.
  func takeOn(_ bytes: Int) -> EventLoopPromise<Void>? {
    let inAll = self.account.budget.addAnswerBytes(bytes)
    let isFirst = self.account.unreadAnswerBytes == 0
    guard isFirst || self.account.unreadAnswerBytes + bytes <= self.limits.unreadAnswerBytes,
      isFirst || inAll <= self.limits.unreadAnswerBytesInAll
    else {
      _ = self.account.budget.addAnswerBytes(-bytes)
      return nil
    }
    self.account.unreadAnswerBytes += bytes
    let promise = self.eventLoop.makePromise(of: Void.self)
    promise.futureResult.assumeIsolated().whenComplete { _ in
      self.account.unreadAnswerBytes -= bytes
      _ = self.account.budget.addAnswerBytes(-bytes)
    }
    return promise
  }

  /// Bytes that wait for the kernel to take them.
  private var socketBacklog: Int {
    guard let context = self.context else { return 0 }
    return (try? context.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
  }

  /// Asked only while the socket takes nothing.
  func checkBacklog() {
    guard self.socketBacklog > self.limits.channelQueueHardBytes else { return }
    self.shutOut("it asks and does not read")
  }

  // MARK: Time

  private func looks(in time: TimeAmount) -> Int {
    Int((time.nanoseconds + self.limits.lookInterval.nanoseconds - 1) / self.limits.lookInterval.nanoseconds)
  }

  /// Called every `lookInterval`.
  func lookAround() {
    self.account.look += 1
    let patience = self.looks(in: self.limits.requestTimeout)
    for call in Array(self.calls.values) where call.endsItsRequest && !call.isHalfClosed {
      guard self.account.look - call.openedAtLook > patience else { continue }
      call.refuse(RPCStatus(.deadlineExceeded, "the request was not whole in time"))
    }
    for exchange in Array(self.exchanges.values) where exchange.isReceiving {
      if self.account.look - exchange.openedAtLook > patience { exchange.runOutOfTime() }
    }
    self.lookForStall()
    if self.account.look - self.account.lastUsedAtLook > self.looks(in: self.limits.idleTimeout) { self.goIfIdle() }
  }

  /// A peer that takes next to nothing of what it asked for is no slow peer: it holds memory.
  private func lookForStall() {
    let backlog = self.socketBacklog
    let isOwing =
      backlog > 0 || self.openStreams > self.calls.count + self.exchanges.count
      || self.exchanges.values.contains { $0.isOwing }
      || self.calls.values.contains { ($0 as? StreamCall)?.isOwing ?? false }
    let taken = self.account.coalescer.passedBytes - backlog
    guard isOwing else {
      self.account.stalledAtLook = nil
      return
    }
    if self.account.stalledAtLook == nil || taken - self.account.takenBytes >= self.limits.leastBytesTaken {
      self.account.stalledAtLook = self.account.look
      self.account.takenBytes = taken
    } else if let since = self.account.stalledAtLook,
      self.account.look - since > self.looks(in: self.limits.stalledTimeout)
    {
      self.shutOut("it does not read what it asked for")
    }
  }

  func goIfIdle() {
    guard self.openStreams == 0, self.account.look > self.account.lastUsedAtLook else { return }
    self.drain()
  }

  private func shutOut(_ reason: String) {
    guard let context = self.context else { return }
    self.logger.info(
      "a client is shut out: \(reason)", metadata: ["client": "\(context.remoteAddress?.description ?? "?")"])
    let word = HTTP2Frame.FramePayload.goAway(
      lastStreamID: self.highestStreamID, errorCode: .enhanceYourCalm, opaqueData: ByteBuffer(string: reason))
    self.write(word, on: .rootStream)
    context.flush()
    context.close(promise: nil)
  }
}
