// One call at the server: what its handler sees of it, and the state that its connection keeps for it.
//
// Invariants: a call is over once, whoever ends it; once it is over it holds no reference to its connection and takes
// nothing more to send.

package import NIOCore
import NIOHPACK
import NIOHTTP2
package import SwiftProtobuf

/// What unary and streaming calls have in common.
///
/// `@unchecked Sendable` holds because the stored properties that other threads may read (`eventLoop`, `deadline`,
/// `headers`, `path`) are immutable, and all others are touched on `eventLoop` only: handlers may keep a call wherever
/// they like, but must come back to its event loop to use it, which every method asserts.
package class ServerCall: @unchecked Sendable {
  package let eventLoop: any EventLoop
  /// When the caller stops waiting, if it said so.
  package let deadline: NIODeadline?
  package let path: String
  /// Whether the caller sent metadata whose name begins with `portcullis-`, or `fence`.
  package let hasOwnMetadata: Bool
  /// Whether the caller wants to be refused where there is no leader.
  package let requiresLeader: Bool
  /// Whether the caller sent metadata by which it may say who it is: `token` or `authorization`.
  package let hasCredentials: Bool
  /// The common name in the certificate of the connection's other end, if it showed one and that was verified.
  package let peerCommonName: String?

  let streamID: HTTP2StreamID
  private let headers: HPACKHeaders
  /// Nil once the call is over.
  fileprivate(set) var connection: (any CallChannel)?
  var assembler: MessageAssembler
  /// The peer has ended its side.
  var isHalfClosed = false
  /// What the connection's account has for the bytes of this call's request, and the look at which it was opened.
  var accountedBytes = 0
  var openedAtLook = 0
  /// Where the call is counted, until it is over.
  private var tally: CallTally?

  init(streamID: HTTP2StreamID, request: RequestHead, connection: any CallChannel) {
    self.streamID = streamID
    self.eventLoop = connection.eventLoop
    self.deadline = request.deadline
    self.path = request.path
    self.hasOwnMetadata = request.hasOwnMetadata
    self.requiresLeader = request.requiresLeader
    self.hasCredentials = request.hasCredentials
    self.peerCommonName = connection.peerCommonName
    self.headers = request.headers
    self.assembler = MessageAssembler(encoding: request.encoding)
    self.connection = connection
  }

  /// The first value of a request header; names are lower case.
  package func metadata(_ name: String) -> String? {
    self.headers.first { $0.name == name }?.value
  }

  var isOver: Bool { self.connection == nil }

  /// Bytes of a request that is not whole yet.
  var heldRequestBytes: Int { self.assembler.pendingBytes }
  /// Whether the request must end before the call does anything.
  var endsItsRequest: Bool { false }

  /// A whole message has come.
  func accept(_ message: ByteBuffer) {
    preconditionFailure("every kind of call takes messages in its own way")
  }

  /// The peer has sent all it will send.
  func acceptEnd() {
    preconditionFailure("every kind of call ends its request in its own way")
  }

  /// The peer has reset the stream, or the connection is gone.
  func acceptLoss() {
    self.ended(.cancelled)
    self.connection = nil
  }

  func count(in tally: CallTally) {
    tally.started()
    self.tally = tally
  }

  fileprivate func ended(_ code: RPCCode) {
    self.tally?.handled(code)
    self.tally = nil
  }

  /// Ends the call from this side with an error that it made itself, such as a message that is too large.
  func refuse(_ status: RPCStatus) {
    let connection = self.connection
    self.ended(status.code)
    self.acceptLoss()
    connection?.sendStatus(status, on: self, hasSentHeaders: false)
  }

  /// The server is about to stop.
  func drain() {}

  fileprivate func takeConnection() -> (any CallChannel)? {
    self.eventLoop.assertInEventLoop()
    let connection = self.connection
    self.connection = nil
    return connection
  }
}

/// A call with one request and one answer.
package final class UnaryCall: ServerCall, @unchecked Sendable {
  private let handler: @Sendable (UnaryCall, ByteBuffer) -> Void
  private var request: ByteBuffer?
  private var hasDispatched = false

  /// Called once on the event loop if the caller goes away before it has its answer. A call that waits for something,
  /// such as a lock, must use it to stop waiting.
  package var onCancel: (() -> Void)?
  /// What becomes of a failure before it is sent, where it is not sent as it is.
  package var translateFailure: ((RPCStatus) -> RPCStatus)?

  init(
    streamID: HTTP2StreamID, request: RequestHead, connection: any CallChannel,
    handler: @escaping @Sendable (UnaryCall, ByteBuffer) -> Void
  ) {
    self.handler = handler
    super.init(streamID: streamID, request: request, connection: connection)
  }

  /// Whether nobody waits for an answer any more: the caller has gone, or was answered.
  package var isCancelled: Bool {
    self.eventLoop.assertInEventLoop()
    return self.isOver
  }

  override var heldRequestBytes: Int { super.heldRequestBytes + (self.request?.readableBytes ?? 0) }
  override var endsItsRequest: Bool { true }

  /// Answers with a message. After the call is over, answers go nowhere.
  package func respond(_ message: some SwiftProtobuf.Message) {
    guard let connection = self.takeConnection() else { return }
    self.onCancel = nil
    self.ended(.ok)
    do {
      connection.sendReply(try MessageFraming.framed(message), on: self)
    } catch {
      connection.sendStatus(error, on: self, hasSentHeaders: false)
    }
  }

  /// Answers with a message that is already encoded.
  package func respond(encoded message: ByteBuffer) {
    guard let connection = self.takeConnection() else { return }
    self.onCancel = nil
    self.ended(.ok)
    connection.sendReply(MessageFraming.framed(message, allocator: connection.allocator), on: self)
  }

  /// Answers with an error.
  package func fail(_ status: RPCStatus) {
    precondition(status.code != .ok, "a unary call that succeeds needs a message")
    guard let connection = self.takeConnection() else { return }
    self.onCancel = nil
    let told = self.translateFailure?(status) ?? status
    self.ended(told.code)
    connection.sendStatus(told, on: self, hasSentHeaders: false)
  }

  override func accept(_ message: ByteBuffer) {
    guard self.request == nil else {
      self.fail(RPCStatus(.internalError, "a unary call takes one message and got a second"))
      return
    }
    self.request = message
  }

  override func acceptEnd() {
    guard let message = self.request else {
      self.fail(RPCStatus(.internalError, "the request ended without a message"))
      return
    }
    self.request = nil
    self.hasDispatched = true
    self.handler(self, message)
  }

  override func acceptLoss() {
    super.acceptLoss()
    self.request = nil
    let onCancel = self.onCancel
    self.onCancel = nil
    onCancel?()
  }
}

/// What answers a streaming call. Every method runs on the call's event loop.
package protocol StreamHandler: AnyObject {
  func received(_ message: ByteBuffer)
  /// The peer will send no more messages; the call is still open for answers.
  func halfClosed()
  /// The call takes messages again after `send` or `isWritable` said that it did not.
  func writable()
  /// The call has ended without this handler's `finish`: the peer went away, broke the rules, or the server stops.
  /// Called once, and nothing is called after it. It is not called after the handler's own `finish`.
  func closed()
  /// The server wants to stop. A handler whose work has an end, such as a snapshot, may finish it within the grace that
  /// is left; one that would go on for ever must finish the call. Left out, the call ends with UNAVAILABLE, which
  /// tells clients to go on elsewhere.
  func draining(_ call: StreamCall)
}

extension StreamHandler {
  package func draining(_ call: StreamCall) {
    call.finish(RPCStatus(.unavailable, "etcdserver: server stopped"))
    self.closed()
  }
}

/// A call with any number of messages either way.
package final class StreamCall: ServerCall, @unchecked Sendable {
  private var handler: (any StreamHandler)?
  private var hasSentHeaders = false
  /// Bytes handed over that the kernel has not taken: they wait for flow control or for the socket.
  private var queuedBytes = 0
  /// `writable()` is owed.
  private var isBlocked = false

  /// Gives the call its handler, which is made with the call in hand.
  func open(with make: @Sendable (StreamCall) -> any StreamHandler) {
    let handler = make(self)
    if !self.isOver {
      self.handler = handler
    }
  }

  /// Whether anything waits for the peer.
  var isOwing: Bool { self.queuedBytes > 0 }

  /// Whether a message sent now would go out rather than pile up.
  package var isWritable: Bool {
    self.eventLoop.assertInEventLoop()
    guard let connection = self.connection else { return false }
    let isWritable = connection.isWritable && self.queuedBytes < connection.limits.streamQueueBytes
    if !isWritable { self.isBlocked = true }
    return isWritable
  }

  /// Sends a message. It is always taken while the call is open; false says that no more should follow until
  /// `writable()` is called, so what waits for a slow peer stays bounded.
  package func send(_ message: some SwiftProtobuf.Message) -> Bool {
    self.eventLoop.assertInEventLoop()
    guard !self.isOver else { return false }
    do {
      return self.send(framed: try MessageFraming.framed(message))
    } catch {
      self.refuse(error)
      return false
    }
  }

  /// Sends a message that is already encoded; see `send(_:)`.
  package func send(encoded message: ByteBuffer) -> Bool {
    self.eventLoop.assertInEventLoop()
    guard let connection = self.connection else { return false }
    return self.send(framed: MessageFraming.framed(message, allocator: connection.allocator))
  }

  /// Sends several messages that are already encoded; see `send(_:)`.
  package func send(_ messages: GatheredMessages) -> Bool {
    self.eventLoop.assertInEventLoop()
    return messages.bytes == 0 ? self.isWritable : self.send(framed: messages.framed)
  }

  /// Ends the call; without a status it has succeeded. Messages sent before still arrive.
  package func finish(_ status: RPCStatus? = nil) {
    guard let connection = self.takeConnection() else { return }
    self.handler = nil
    self.ended(status?.code ?? .ok)
    connection.sendStatus(status ?? .ok, on: self, hasSentHeaders: self.hasSentHeaders)
  }

  private func send(framed: ByteBuffer) -> Bool {
    guard let connection = self.connection else { return false }
    guard self.queuedBytes < connection.limits.streamQueueHardBytes else {
      // The peer goes on asking for answers and reads none.
      self.acceptLoss()
      connection.giveUp(self)
      return false
    }
    let size = framed.readableBytes
    self.queuedBytes += size
    let promise = self.eventLoop.makePromise(of: Void.self)
    promise.futureResult.assumeIsolated().whenComplete { _ in self.hasLeft(size) }
    connection.sendMessage(framed, on: self, withHeaders: !self.hasSentHeaders, promise: promise)
    self.hasSentHeaders = true
    return self.isWritable
  }

  private func hasLeft(_ size: Int) {
    self.queuedBytes -= size
    self.unblockIfPossible()
  }

  /// Half of the queue must be free again, so that a handler is woken for more than one message.
  func unblockIfPossible() {
    guard self.isBlocked, let connection = self.connection, connection.isWritable,
      self.queuedBytes <= connection.limits.streamQueueBytes / 2
    else { return }
    self.isBlocked = false
    self.handler?.writable()
  }

  override func accept(_ message: ByteBuffer) {
    self.handler?.received(message)
  }

  override func acceptEnd() {
    self.handler?.halfClosed()
  }

  override func acceptLoss() {
    super.acceptLoss()
    let handler = self.handler
    self.handler = nil
    handler?.closed()
  }

  override func refuse(_ status: RPCStatus) {
    let connection = self.connection
    let hasSentHeaders = self.hasSentHeaders
    self.ended(status.code)
    self.acceptLoss()
    connection?.sendStatus(status, on: self, hasSentHeaders: hasSentHeaders)
  }

  override func drain() {
    self.handler?.draining(self)
  }
}
