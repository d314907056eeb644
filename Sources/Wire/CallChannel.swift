// What a call needs of whatever brought it. Most come by HTTP/2 (ServerConnection); a call can also be made of a request
// in another form, such as JSON over HTTP/1, and then runs through the same methods.

package import NIOCore
import NIOHPACK
import NIOHTTP2

protocol CallChannel: AnyObject {
  var eventLoop: any EventLoop { get }
  var allocator: ByteBufferAllocator { get }
  var limits: WireLimits { get }
  /// Whether what is sent now would leave rather than pile up.
  var isWritable: Bool { get }
  /// Of the peer's verified certificate; nil on a plaintext connection, and for a call in another form than gRPC's: its
  /// connection may be that of somebody who passes on the calls of others.
  var peerCommonName: String? { get }

  /// Each ends the call or sends messages of it; in `framed` each has gRPC's prefix. A reply is one.
  func sendReply(_ framed: ByteBuffer, on call: UnaryCall)
  func sendMessage(_ framed: ByteBuffer, on call: StreamCall, withHeaders: Bool, promise: EventLoopPromise<Void>)
  func sendStatus(_ status: RPCStatus, on call: ServerCall, hasSentHeaders: Bool)
  /// Drops a call, which is over, with all that waits for its peer.
  func giveUp(_ call: StreamCall)
}

/// Where the answers of a translated call go. Called on the call's event loop.
package protocol TranslatedCallSink: AnyObject {
  var isWritable: Bool { get }
  /// A whole message. The promise is kept when it has left, and must be kept or broken in the end.
  func message(_ message: ByteBuffer, promise: EventLoopPromise<Void>?)
  /// The call is over; called once.
  func end(_ status: RPCStatus)
}

/// A call whose request came in another form than gRPC's. All of it is used on one event loop.
package final class TranslatedCall: CallChannel {
  let eventLoop: any EventLoop
  let allocator = ByteBufferAllocator()
  let limits: WireLimits
  private let sink: any TranslatedCallSink
  private var call: ServerCall?

  var isWritable: Bool { self.sink.isWritable }
  var peerCommonName: String? { nil }

  /// - Parameters:
  ///   - path: as on the wire of gRPC, such as `/etcdserverpb.KV/Put`.
  ///   - metadata: names in lower case.
  package init(
    _ path: String, metadata: [(String, String)], limits: WireLimits, on eventLoop: any EventLoop,
    sink: any TranslatedCallSink
  ) {
    self.eventLoop = eventLoop
    self.limits = limits
    self.sink = sink
    self.path = path
    self.metadata = metadata
  }

  private let path: String
  private let metadata: [(String, String)]

  /// Makes the call with all of its request, and tells it that there is no more: a stream of leases' renewals is over with
  /// the last answer, and one of watches goes on.
  package func start(_ method: RPCMethod, messages: [ByteBuffer]) {
    var head = RequestHead(path: self.path, headers: HPACKHeaders(self.metadata))
    head.hasOwnMetadata = self.metadata.contains { $0.0.hasPrefix("portcullis-") || $0.0 == "fence" }
    head.requiresLeader = self.metadata.contains { $0.0 == "hasleader" && $0.1 == "true" }
    head.hasCredentials = self.metadata.contains { $0.0 == "token" || $0.0 == "authorization" }
    // A stream of its own, so the number tells nobody apart.
    let streamID = HTTP2StreamID(1)
    switch method {
    case .unary(let handler):
      let call = UnaryCall(streamID: streamID, request: head, connection: self, handler: handler)
      self.call = call
      for message in messages where !call.isOver { call.accept(message) }
      if !call.isOver { call.acceptEnd() }
    case .streaming(let make):
      let call = StreamCall(streamID: streamID, request: head, connection: self)
      self.call = call
      call.open(with: make)
      for message in messages where !call.isOver { call.accept(message) }
      if !call.isOver { call.acceptEnd() }
    }
  }

  /// Nobody waits for the answer any more.
  package func cancel() {
    let call = self.call
    self.call = nil
    call?.acceptLoss()
  }

  /// The server is about to stop.
  package func drain() { self.call?.drain() }

  /// The sink takes messages again.
  package func unblock() { (self.call as? StreamCall)?.unblockIfPossible() }

  func sendReply(_ framed: ByteBuffer, on call: UnaryCall) {
    self.sink.message(Self.message(in: framed), promise: nil)
    self.end(.ok)
  }

  func sendMessage(_ framed: ByteBuffer, on call: StreamCall, withHeaders: Bool, promise: EventLoopPromise<Void>) {
    var rest = framed
    while rest.readableBytes >= MessageFraming.prefixBytes {
      rest.moveReaderIndex(forwardBy: 1)
      let length = rest.readInteger(as: UInt32.self).map { Int($0) } ?? 0
      guard let message = rest.readSlice(length: length) else {
        preconditionFailure("a node's own messages are as long as their prefixes say")
      }
      self.sink.message(message, promise: rest.readableBytes == 0 ? promise : nil)
    }
  }

  func sendStatus(_ status: RPCStatus, on call: ServerCall, hasSentHeaders: Bool) { self.end(status) }

  func giveUp(_ call: StreamCall) {
    self.end(RPCStatus(.resourceExhausted, "the caller does not read its answers"))
  }

  private func end(_ status: RPCStatus) {
    self.call = nil
    self.sink.end(status)
  }

  private static func message(in framed: ByteBuffer) -> ByteBuffer {
    var framed = framed
    framed.moveReaderIndex(forwardBy: MessageFraming.prefixBytes)
    return framed
  }
}
