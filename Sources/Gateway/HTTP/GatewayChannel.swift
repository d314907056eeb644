// What an accepted connection goes through before the gateway's HTTP sees it: the count of connections, TLS, and the
// watch over a client that does not do its part.
//
// Must never let a connection in that is beyond the limit, unless an idle one goes for it.

import HummingbirdCore
import Logging
import NIOCore
import NIOHTTP1
import Wire

struct GatewayChannel: ServerChildChannel {
  /// A connection is registered with its event loop only once it was set up, and TLS needs it registered: so HTTP comes
  /// later.
  struct Value: ServerChildChannelValue {
    let channel: any Channel
    let http: EventLoopFuture<HTTP1Channel.Value>
  }

  private let http: HTTP1Channel
  /// Nil where plain text is spoken.
  private let acceptor: TLSAcceptor?
  private let connections: OpenConnections
  private let routes: GatewayRoutes
  private let inboxes = LoopInbox.All()
  private let limits: GatewayLimits

  init(
    responder: @escaping HTTPChannelHandler.Responder, routes: GatewayRoutes, acceptor: TLSAcceptor?
  ) {
    limits = routes.limits
    connections = routes.connections
    self.routes = routes
    let decoder = HTTP1Channel.Configuration.DecoderConfiguration(
      maxHeaderFieldSize: limits.headerBytes, maxHeaderListSize: limits.headerBytes,
      maxHeaderFieldCount: limits.headerFields)
    http = HTTP1Channel(responder: responder, configuration: .init(httpDecoderConfiguration: decoder))
    self.acceptor = acceptor
  }

  func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
    guard let entry = connections.admit(channel) else { return turnAway(channel) }
    guard let acceptor else {
      return channel.eventLoop.makeSucceededFuture(Value(channel: channel, http: prepare(channel, entry, logger)))
    }
    let ready = channel.eventLoop.makePromise(of: HTTP1Channel.Value.self)
    channel.closeFuture.whenComplete { _ in ready.fail(ChannelError.eof) }
    // Nothing is read before TLS stands in the way of it.
    let secured = acceptor.secure(channel) { [self] channel, _ in
      prepare(channel, entry, logger).cascade(to: ready)
    }
    secured.whenFailure { error in
      ready.fail(error)
      channel.close(promise: nil)
    }
    return secured.map { Value(channel: channel, http: ready.futureResult) }
  }

  private func turnAway(_ channel: any Channel) -> EventLoopFuture<Value> {
    channel.eventLoop.makeCompletedFuture {
      // Before TLS nothing can be said.
      let handler = TurningAway(acceptor == nil ? RawAnswer.tooManyConnections : nil)
      try channel.pipeline.syncOperations.addHandler(handler)
      return Value(channel: channel, http: channel.eventLoop.makeFailedFuture(TooManyConnections()))
    }
  }

  /// Lays HTTP over the connection, with the watch between its parser and what answers.
  private func prepare(
    _ channel: any Channel, _ entry: OpenConnections.Entry, _ logger: Logger
  ) -> EventLoopFuture<HTTP1Channel.Value> {
    let keeper = ConnectionKeeper(entry: entry, limits: limits)
    do {
      try channel.pipeline.syncOperations.addHandler(ByteWatch(keeper))
    } catch {
      return channel.eventLoop.makeFailedFuture(error)
    }
    let bound = NIOLoopBound(keeper, eventLoop: channel.eventLoop)
    return http.setup(channel: channel, logger: logger).flatMapThrowing { value in
      let operations = channel.pipeline.syncOperations
      let decoder = try operations.handler(type: ByteToMessageHandler<HTTPRequestDecoder>.self)
      try operations.addHandler(bound.value, position: .after(decoder))
      let shortcut = WriteShortcut(routes: routes, inbox: inboxes.inbox(of: channel.eventLoop))
      try operations.addHandler(shortcut, position: .after(bound.value))
      return value
    }
  }

  /// A connection that never came as far as HTTP has nothing to be handled.
  func handle(value: Value, logger: Logger) async {
    guard let connection = try? await value.http.get() else { return }
    await http.handle(value: connection, logger: logger)
  }

  private struct TooManyConnections: Error {}
}

/// Closes a connection as soon as it is there, with a word where one can be said.
private final class TurningAway: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  private let word: ByteBuffer?

  init(_ word: ByteBuffer?) { self.word = word }

  func channelActive(context: ChannelHandlerContext) {
    guard let word else { return context.close(promise: nil) }
    context.writeAndFlush(wrapOutboundOut(word)).assumeIsolated().whenComplete { _ in
      context.close(mode: .output, promise: nil)
    }
    // It may read the word first; who does not go then is cut off.
    _ = context.eventLoop.assumeIsolated().scheduleTask(in: .seconds(1)) { context.close(promise: nil) }
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {}
}

/// Answers that are given without the machinery of HTTP, because it is not there yet or has failed.
enum RawAnswer {
  static let tooManyConnections = text(
    "503 Service Unavailable", type: "overloaded", title: "Too many connections are open",
    recovery: "Keep connections open and use them again; nothing was done.", extra: "Retry-After: 1\r\n")

  static let headTooLate = text(
    "408 Request Timeout", type: "too-slow", title: "The request did not come in time",
    recovery: "Send the request at once; nothing of it was done.")

  static let headersTooLarge = text(
    "431 Request Header Fields Too Large", type: "headers-too-large", title: "The header fields are too large",
    recovery: "Send fewer or shorter header fields; nothing was done.")

  static let unreadable = text(
    "400 Bad Request", type: "bad-request", title: "This is no HTTP request",
    recovery: "Speak HTTP/1.1; nothing was done.")

  private static func text(
    _ status: String, type: String, title: String, recovery: String, extra: String = ""
  ) -> ByteBuffer {
    let code = status.prefix(3)
    let body =
      "{\"type\":\"urn:portcullis:problem:\(type)\",\"title\":\"\(title)\",\"status\":\(code),"
      + "\"detail\":\"\(title).\",\"recovery\":\"\(recovery)\"}"
    return ByteBuffer(
      string: "HTTP/1.1 \(status)\r\nContent-Type: application/problem+json\r\nConnection: close\r\n\(extra)"
        + "Content-Length: \(body.utf8.count)\r\n\r\n\(body)")
  }
}
