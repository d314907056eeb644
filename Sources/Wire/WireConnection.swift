// A client's connection: gRPC calls to one server over one HTTP/2 connection. It does not reconnect and does not choose
// between servers; that is the business of who uses it.

import Glibc
package import NIOCore
import NIOHTTP2
import NIOPosix
package import SwiftProtobuf

/// Receives what a streaming call brings. Both methods run on the connection's event loop.
package protocol ClientStreamHandler: AnyObject, Sendable {
  func received(_ message: ByteBuffer)
  /// The call is over; called once, and nothing comes after it.
  func closed(_ status: RPCStatus)
}

package final class WireConnection: Sendable {
  package let eventLoop: any EventLoop
  /// Completes when the connection is gone, whoever closed it.
  package var closeFuture: EventLoopFuture<Void> { self.channel.closeFuture }
  private let channel: any Channel
  private let connection: NIOLoopBound<ClientConnection>

  private init(channel: any Channel, connection: NIOLoopBound<ClientConnection>) {
    self.eventLoop = channel.eventLoop
    self.channel = channel
    self.connection = connection
  }

  /// Connects. The future fails with an `RPCStatus` that says what was tried; `isTLSFailure` tells whether it was TLS.
  /// - Parameter tls: nil for plain text.
  package static func connect(
    host: String, port: Int, on eventLoop: any EventLoop, limits: WireLimits = .client, tls: TLSSource? = nil
  ) -> EventLoopFuture<WireConnection> {
    let connector = tls.map { TLSConnector($0, limits: limits) }
    let authority = host.utf8.contains(UInt8(ascii: ":")) ? "[\(host)]:\(port)" : "\(host):\(port)"
    return ClientBootstrap(group: eventLoop)
      .connectTimeout(limits.connectTimeout)
      .channelOption(.tcpOption(.tcp_nodelay), value: 1)
      .channelOption(.socketOption(.so_keepalive), value: 1)
      .channelOption(
        .writeBufferWaterMark, value: .init(low: limits.channelQueueLowBytes, high: limits.channelQueueHighBytes)
      )
      .channelInitializer { channel in
        guard let connector else {
          return channel.eventLoop.makeCompletedFuture {
            try self.addHandlers(to: channel, authority: authority, scheme: "http", limits: limits)
          }
        }
        return connector.prepare(channel, host: host).flatMapThrowing {
          try self.addHandlers(to: channel, authority: authority, scheme: "https", limits: limits)
        }
      }
      .connect(host: host, port: port)
      .flatMap { (channel: any Channel) -> EventLoopFuture<any Channel> in
        guard let connector else { return channel.eventLoop.makeSucceededFuture(channel) }
        return connector.secured(channel).map { channel }
      }
      .flatMap { (channel: any Channel) -> EventLoopFuture<WireConnection> in
        // The connect future completes before the channel is told that it is active, and so before HTTP/2 has begun: a
        // call made from its callback would be written to a connection without a preface. One turn later it has begun.
        channel.eventLoop.submit {
          let handler = try channel.pipeline.syncOperations.handler(type: ClientConnection.self)
          return WireConnection(channel: channel, connection: NIOLoopBound(handler, eventLoop: channel.eventLoop))
        }
      }
      .flatMapErrorThrowing { error in
        if let error = TLSError(error, .client) { throw RPCStatus.tls(error, to: authority) }
        throw RPCStatus(.unavailable, "cannot connect to \(authority): \(Self.cause(of: error))")
      }
  }

  private static func addHandlers(
    to channel: any Channel, authority: String, scheme: String, limits: WireLimits
  ) throws {
    let errors = ConnectionErrorDetector()
    let connection = ClientConnection(
      channel: channel, authority: authority, scheme: scheme, limits: limits,
      scheduler: FlushScheduler(eventLoop: channel.eventLoop), errors: errors)
    try channel.pipeline.syncOperations.addHandlers([
      WriteCoalescer(), NIOHTTP2Handler.make(mode: .client, limits: limits, errors: errors), connection,
    ])
  }

  /// Why a connection was not made, in words.
  package static func cause(of error: any Error) -> String {
    switch error {
    case let error as NIOConnectionError:
      if let first = error.connectionErrors.first { return self.cause(of: first.error) }
      return "the name is not known"
    case let error as IOError:
      return String(cString: strerror(error.errnoCode))
    case ChannelError.connectTimeout(let amount):
      return "no answer within \(amount.nanoseconds / 1_000_000) ms"
    default:
      return "\(error)"
    }
  }

  package func close() {
    self.channel.close(promise: nil)
  }

  /// Calls with one message out and one in. From the connection's own event loop this costs no hop. The completion runs
  /// on that event loop, once.
  package func unary(
    _ path: String, _ payload: ByteBuffer, metadata: [(String, String)] = [], deadline: NIODeadline? = nil,
    completion: @escaping @Sendable (Result<ByteBuffer, RPCStatus>) -> Void
  ) {
    guard self.eventLoop.inEventLoop else {
      self.eventLoop.execute {
        self.unary(path, payload, metadata: metadata, deadline: deadline, completion: completion)
      }
      return
    }
    let connection = self.connection.value
    let opened = connection.open(path, metadata: metadata, deadline: deadline, sink: .unary(completion))
    guard let call = opened else { return }
    connection.send(payload, isEnd: true, on: call)
  }

  /// How far the call of a task is that waits for it. The task can be cancelled before the event loop has opened the call,
  /// and then it is not opened: the loop does in turn what it is given, and the cancellation can be first.
  private enum WaitedFor {
    case notOpened, cancelled
    case opened(ClientCall)
  }

  /// The same for code that waits. Cancelling the task cancels the call.
  package func unary<Request: SwiftProtobuf.Message, Response: SwiftProtobuf.Message & Sendable>(
    _ path: String, _ request: Request, as: Response.Type, metadata: [(String, String)] = [],
    deadline: NIODeadline? = nil
  ) async throws(RPCStatus) -> Response {
    let framed = try MessageFraming.framed(request)
    let state = NIOLoopBoundBox.makeBoxSendingValue(WaitedFor.notOpened, eventLoop: self.eventLoop)
    let cancellation = RPCStatus(.cancelled, "the caller cancelled the call")
    let result: Result<ByteBuffer, RPCStatus> = await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        self.eventLoop.execute {
          if case .cancelled = state.value { return continuation.resume(returning: .failure(cancellation)) }
          let connection = self.connection.value
          let sink = ClientCall.Sink.unary { continuation.resume(returning: $0) }
          let opened = connection.open(path, metadata: metadata, deadline: deadline, sink: sink)
          guard let call = opened else { return }
          state.value = .opened(call)
          connection.send(framed: framed, isEnd: true, on: call)
        }
      }
    } onCancel: {
      self.eventLoop.execute {
        if case .opened(let call) = state.value { self.connection.value.cancel(call, status: cancellation) }
        state.value = .cancelled
      }
    }
    return try Response(received: result.get())
  }

  /// Opens a call with any number of messages either way.
  package func openStream(
    _ path: String, metadata: [(String, String)] = [], handler: any ClientStreamHandler
  ) -> ClientStream {
    let stream = ClientStream(connection: self.connection, eventLoop: self.eventLoop)
    stream.onLoop {
      $0.call = $0.connection.open(path, metadata: metadata, deadline: nil, sink: .stream(handler))
      $0.connection.flushSoon()
    }
    return stream
  }
}

/// The sending side of a streaming call. Usable from any thread; what one thread does keeps its order.
package final class ClientStream: Sendable {
  struct OnLoop {
    let connection: ClientConnection
    var call: ClientCall?
  }

  private let eventLoop: any EventLoop
  private let connection: NIOLoopBound<ClientConnection>
  private let call: NIOLoopBoundBox<ClientCall?>

  init(connection: NIOLoopBound<ClientConnection>, eventLoop: any EventLoop) {
    self.eventLoop = eventLoop
    self.connection = connection
    self.call = .makeEmptyBox(eventLoop: eventLoop)
  }

  /// Always through the loop's queue, also from the loop itself: so a message never overtakes an earlier one, and what
  /// is sent while messages are being received does not run within the handler that sends it.
  func onLoop(_ body: @escaping @Sendable (inout OnLoop) -> Void) {
    self.eventLoop.execute {
      var state = OnLoop(connection: self.connection.value, call: self.call.value)
      body(&state)
      self.call.value = state.call
    }
  }

  package func send(_ message: ByteBuffer) {
    self.onLoop { if let call = $0.call { $0.connection.send(message, isEnd: false, on: call) } }
  }

  package func send(_ message: some SwiftProtobuf.Message) throws(RPCStatus) {
    let framed = try MessageFraming.framed(message)
    self.onLoop { if let call = $0.call { $0.connection.send(framed: framed, isEnd: false, on: call) } }
  }

  /// Says that no more messages follow; answers still come.
  package func halfClose() {
    self.onLoop { if let call = $0.call { $0.connection.halfClose(call) } }
  }

  /// Ends the call; its handler is told that it was cancelled.
  package func cancel() {
    self.onLoop {
      guard let call = $0.call else { return }
      $0.connection.cancel(call, status: RPCStatus(.cancelled, "the caller cancelled the call"))
    }
  }
}
