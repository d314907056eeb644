// Plain HTTP on the same port: metrics, health, JSON. A request is small and read whole; a reply is small too, or a stream
// that goes on until one of both sides ends it. This file has the requests and HTTP/1; HTTPExchange.swift has HTTP/2.

package import NIOCore
import NIOHTTP1

package struct HTTPRequest: Sendable {
  package var method: String
  /// The request target as sent, with its query.
  package var path: String
  private var headers: HTTPHeaders
  package var body: ByteBuffer
  /// Tells whoever works on the request that nobody waits for its reply any more.
  package let abandonment = HTTPAbandonment()

  package init(method: String, path: String, headers: [(String, String)] = [], body: ByteBuffer = ByteBuffer()) {
    self.init(method: method, path: path, headers: HTTPHeaders(headers), body: body)
  }

  init(method: String, path: String, headers: HTTPHeaders, body: ByteBuffer) {
    self.method = method
    self.path = path
    self.headers = headers
    self.body = body
  }

  /// The first value of a header; names are compared without regard to case.
  package func header(_ name: String) -> String? {
    self.headers.first(name: name)
  }
}

/// `@unchecked Sendable`: used on the connection's event loop alone.
package final class HTTPAbandonment: @unchecked Sendable {
  /// Called once if the connection is gone before the reply was given.
  package var handler: (() -> Void)?

  func happen() {
    let handler = handler
    self.handler = nil
    handler?()
  }
}

package struct HTTPReply: Sendable {
  package var status: Int
  package var contentType: String
  package var body: ByteBuffer
  package var extraHeaders: [(String, String)]
  /// For a reply that is a stream: called on the event loop once the head is written, in the place of `body`.
  package var stream: (@Sendable (HTTPBodyWriter) -> Void)?

  package init(status: Int, contentType: String, body: ByteBuffer, extraHeaders: [(String, String)] = []) {
    self.status = status
    self.contentType = contentType
    self.body = body
    self.extraHeaders = extraHeaders
  }

  package init(contentType: String, stream: @escaping @Sendable (HTTPBodyWriter) -> Void) {
    self.init(status: 200, contentType: contentType, body: ByteBuffer())
    self.stream = stream
  }

  package init(status: Int, text: String) {
    self.init(status: status, contentType: "text/plain; charset=utf-8", body: ByteBuffer(string: text))
  }
}

/// Answers one HTTP request. Called on the connection's event loop, which is passed for making the future.
package typealias HTTPResponder = @Sendable (HTTPRequest, any EventLoop) -> EventLoopFuture<HTTPReply>

/// Where the pieces of a reply go. Used on the connection's event loop.
protocol HTTPBodySink: AnyObject {
  var isWritable: Bool { get }
  /// Sends a piece now; the promise is kept when the kernel has it.
  func write(_ piece: ByteBuffer, promise: EventLoopPromise<Void>?)
  /// No piece follows.
  func end()
}

/// Writes a reply that is a stream, piece by piece. `@unchecked Sendable`: all of it is used on the connection's event loop.
package final class HTTPBodyWriter: @unchecked Sendable {
  /// Nil once the stream is over.
  private var sink: (any HTTPBodySink)?

  /// Called when the connection takes more after it did not, when the server is about to stop, and, once, when the
  /// connection is gone before `finish`.
  package var onWritable: (() -> Void)?
  package var onDrain: (() -> Void)?
  package var onClose: (() -> Void)?

  init(_ sink: any HTTPBodySink) {
    self.sink = sink
  }

  package var isWritable: Bool { self.sink?.isWritable ?? false }

  /// Sends a piece now; the promise is kept when the kernel has it.
  package func write(_ piece: ByteBuffer, promise: EventLoopPromise<Void>? = nil) {
    guard let sink = self.sink else {
      promise?.fail(ChannelError.ioOnClosedChannel)
      return
    }
    sink.write(piece, promise: promise)
  }

  /// Ends the stream; the connection lives on if both sides want it to.
  package func finish() {
    let sink = self.sink
    self.forget()
    sink?.end()
  }

  func close() {
    let onClose = self.onClose
    self.forget()
    onClose?()
  }

  private func forget() {
    self.sink = nil
    self.onWritable = nil
    self.onDrain = nil
    self.onClose = nil
  }
}

/// The body of a reply over HTTP/1.
private final class HTTP1BodySink: HTTPBodySink {
  private let context: ChannelHandlerContext
  private let isLast: Bool
  private let onEnd: () -> Void

  /// - Parameter onEnd: called when the body has ended and the connection goes on.
  init(context: ChannelHandlerContext, isLast: Bool, onEnd: @escaping () -> Void) {
    self.context = context
    self.isLast = isLast
    self.onEnd = onEnd
  }

  var isWritable: Bool { self.context.channel.isWritable }

  func write(_ piece: ByteBuffer, promise: EventLoopPromise<Void>?) {
    self.context.writeAndFlush(NIOAny(HTTPServerResponsePart.body(.byteBuffer(piece))), promise: promise)
  }

  func end() {
    let promise = self.isLast ? self.context.eventLoop.makePromise(of: Void.self) : nil
    promise?.futureResult.assumeIsolated().whenComplete { [context] _ in context.close(promise: nil) }
    if !self.isLast { self.onEnd() }
    self.context.writeAndFlush(NIOAny(HTTPServerResponsePart.end(nil)), promise: promise)
  }
}

/// Gathers a request, asks the responder, writes the reply. `HTTPServerPipelineHandler` in front of it lets one request
/// through at a time.
final class HTTPServiceHandler: ChannelInboundHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundOut = HTTPServerResponsePart

  private let responder: HTTPResponder
  private let limits: WireLimits
  private let budget: WireBudget
  /// Runs while a request is waited for, from its first byte or from the reply before it, and closes the connection.
  private var requestTimer: Scheduled<Void>?
  /// Runs while the client takes nothing.
  private var stallTimer: Scheduled<Void>?
  private var head: HTTPRequestHead?
  private var body = ByteBuffer()
  /// Bytes of it that the budget was told of.
  private var heldBytes = 0
  /// Asked to make room while it waited for this very request.
  private var isPressed = false
  /// The stream that is being written, if the newest reply is one.
  private var writer: HTTPBodyWriter?
  /// Of the request that is being worked on.
  private var abandonment: HTTPAbandonment?

  init(responder: @escaping HTTPResponder, limits: WireLimits, budget: WireBudget) {
    self.responder = responder
    self.limits = limits
    self.budget = budget
  }

  func handlerAdded(context: ChannelHandlerContext) { self.awaitRequest(context) }

  func handlerRemoved(context: ChannelHandlerContext) {
    self.requestTimer?.cancel()
    self.stallTimer?.cancel()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch self.unwrapInboundIn(data) {
    case .head(let head):
      self.head = head
      self.body = ByteBuffer()
      if head.headers.first(name: "expect")?.lowercased() == "100-continue" {
        let goOn = HTTPResponseHead(version: head.version, status: .continue)
        context.writeAndFlush(self.wrapOutboundOut(.head(goOn)), promise: nil)
      }
    case .body(let piece):
      guard let head = self.head else { return }
      self.take(piece, of: head, context: context)
    case .end:
      guard let head = self.head else { return }
      self.endRequest()
      let body = self.body
      self.body = ByteBuffer()
      self.answer(head, body, context: context)
    }
  }

  private func take(_ piece: ByteBuffer, of head: HTTPRequestHead, context: ChannelHandlerContext) {
    self.heldBytes += piece.readableBytes
    let inAll = self.budget.addRequestBytes(piece.readableBytes)
    let refusal: HTTPReply
    if self.heldBytes > self.limits.httpBodyBytes {
      refusal = HTTPReply(status: 413, text: "the request is larger than \(self.limits.httpBodyBytes) bytes\n")
    } else if inAll > self.limits.unfinishedRequestBytesInAll {
      refusal = HTTPReply(status: 503, text: "too many bytes of requests that are not whole; try again later\n")
    } else {
      self.body.writeImmutableBuffer(piece)
      return
    }
    // What is left of it may never end.
    self.endRequest()
    self.body = ByteBuffer()
    self.write(refusal, for: head, isLast: true, context: context)
  }

  /// The request is whole, or no more of it is taken.
  private func endRequest() {
    self.head = nil
    self.requestTimer?.cancel()
    self.requestTimer = nil
    _ = self.budget.addRequestBytes(-self.heldBytes)
    self.heldBytes = 0
  }

  private func answer(_ head: HTTPRequestHead, _ body: ByteBuffer, context: ChannelHandlerContext) {
    let request = HTTPRequest(method: head.method.rawValue, path: head.uri, headers: head.headers, body: body)
    self.abandonment = request.abandonment
    self.responder(request, context.eventLoop).hop(to: context.eventLoop).assumeIsolated().whenComplete { result in
      self.abandonment?.handler = nil
      self.abandonment = nil
      switch result {
      case .success(let reply):
        // Without chunks the end of a stream is the end of the connection.
        let isLast = !head.isKeepAlive || (reply.stream != nil && head.version.minor == 0)
        self.write(reply, for: head, isLast: isLast, context: context)
      case .failure(let error):
        self.write(HTTPReply(status: 500, text: "\(error)\n"), for: head, isLast: true, context: context)
      }
    }
  }

  private func write(_ reply: HTTPReply, for request: HTTPRequestHead, isLast: Bool, context: ChannelHandlerContext) {
    context.write(self.wrapOutboundOut(.head(Self.head(of: reply, for: request, isLast: isLast))), promise: nil)
    if let stream = reply.stream {
      let writer = HTTPBodyWriter(HTTP1BodySink(context: context, isLast: isLast) { self.awaitRequest(context) })
      self.writer = writer
      context.flush()
      return stream(writer)
    }
    if request.method != .HEAD { self.writeBody(reply.body, context) }
    if !isLast { self.awaitRequest(context) }
    let promise = isLast ? context.eventLoop.makePromise(of: Void.self) : nil
    promise?.futureResult.assumeIsolated().whenComplete { _ in context.close(promise: nil) }
    context.writeAndFlush(self.wrapOutboundOut(.end(nil)), promise: promise)
  }

  /// A reply that asks for more memory than all of them may have together was made already, so it counts for the next.
  private func writeBody(_ body: ByteBuffer, _ context: ChannelHandlerContext) {
    let bytes = body.readableBytes
    guard bytes > ConnectionAccount.smallAnswerBytes else {
      return context.write(self.wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
    }
    _ = self.budget.addAnswerBytes(bytes)
    let promise = context.eventLoop.makePromise(of: Void.self)
    promise.futureResult.whenComplete { [budget] _ in _ = budget.addAnswerBytes(-bytes) }
    context.write(self.wrapOutboundOut(.body(.byteBuffer(body))), promise: promise)
  }

  // MARK: Time

  private func awaitRequest(_ context: ChannelHandlerContext) {
    self.requestTimer?.cancel()
    self.isPressed = false
    self.requestTimer = context.eventLoop.assumeIsolated().scheduleTask(in: self.limits.requestTimeout) {
      self.requestTimer = nil
      // Before the end of its head a request cannot be answered, and a connection between two requests needs no answer.
      guard let head = self.head else { return context.close(promise: nil) }
      self.endRequest()
      self.body = ByteBuffer()
      self.write(
        HTTPReply(status: 408, text: "the request was not whole in time\n"), for: head, isLast: true, context: context)
    }
  }

  /// Closes the connection when the client has taken too little by then of what waits for it.
  private func awaitProgress(_ context: ChannelHandlerContext, waiting: Int) {
    self.stallTimer = context.eventLoop.assumeIsolated().scheduleTask(in: self.limits.stalledTimeout) {
      let left = (try? context.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
      guard waiting - left >= self.limits.leastBytesTaken else { return context.close(promise: nil) }
      self.awaitProgress(context, waiting: left)
    }
  }

  private static func head(of reply: HTTPReply, for request: HTTPRequestHead, isLast: Bool) -> HTTPResponseHead {
    var head = HTTPResponseHead(version: request.version, status: HTTPResponseStatus(statusCode: reply.status))
    head.headers.add(name: "content-type", value: reply.contentType)
    if reply.stream == nil {
      head.headers.add(name: "content-length", value: String(reply.body.readableBytes))
    } else if request.version.minor > 0 {
      head.headers.add(name: "transfer-encoding", value: "chunked")
    }
    for (name, value) in reply.extraHeaders {
      head.headers.add(name: name, value: value)
    }
    if isLast {
      head.headers.replaceOrAdd(name: "connection", value: "close")
    } else if request.version.major == 1, request.version.minor == 0 {
      head.headers.replaceOrAdd(name: "connection", value: "keep-alive")
    }
    return head
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    self.stallTimer?.cancel()
    if context.channel.isWritable {
      self.writer?.onWritable?()
    } else {
      let waiting = (try? context.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
      self.awaitProgress(context, waiting: waiting)
    }
    context.fireChannelWritabilityChanged()
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if event is ChannelShouldQuiesceEvent { self.writer?.onDrain?() }
    // One that waits for a request, or for the rest of one, makes room for others when it is asked a second time.
    if event is ConnectionsShortEvent, self.requestTimer != nil {
      if self.isPressed { context.close(promise: nil) }
      self.isPressed = true
    }
    context.fireUserInboundEventTriggered(event)
  }

  func channelInactive(context: ChannelHandlerContext) {
    self.endRequest()
    self.abandonment?.happen()
    self.abandonment = nil
    self.writer?.close()
    self.writer = nil
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    // The protocol error handler in front has already answered what could be answered.
    context.close(promise: nil)
  }
}
