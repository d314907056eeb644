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

  init(context: ChannelHandlerContext, isLast: Bool) {
    self.context = context
    self.isLast = isLast
  }

  var isWritable: Bool { self.context.channel.isWritable }

  func write(_ piece: ByteBuffer, promise: EventLoopPromise<Void>?) {
    self.context.writeAndFlush(NIOAny(HTTPServerResponsePart.body(.byteBuffer(piece))), promise: promise)
  }

  func end() {
    let promise = self.isLast ? self.context.eventLoop.makePromise(of: Void.self) : nil
    promise?.futureResult.assumeIsolated().whenComplete { [context] _ in context.close(promise: nil) }
    self.context.writeAndFlush(NIOAny(HTTPServerResponsePart.end(nil)), promise: promise)
  }
}

/// Gathers a request, asks the responder, writes the reply. `HTTPServerPipelineHandler` in front of it lets one request
/// through at a time.
final class HTTPServiceHandler: ChannelInboundHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundOut = HTTPServerResponsePart

  private let responder: HTTPResponder
  private let bodyLimitBytes: Int
  private var head: HTTPRequestHead?
  private var body = ByteBuffer()
  private var isTooLarge = false
  /// The stream that is being written, if the newest reply is one.
  private var writer: HTTPBodyWriter?
  /// Of the request that is being worked on.
  private var abandonment: HTTPAbandonment?

  init(responder: @escaping HTTPResponder, bodyLimitBytes: Int) {
    self.responder = responder
    self.bodyLimitBytes = bodyLimitBytes
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch self.unwrapInboundIn(data) {
    case .head(let head):
      self.head = head
      self.body = ByteBuffer()
      self.isTooLarge = false
      if head.headers.first(name: "expect")?.lowercased() == "100-continue" {
        let goOn = HTTPResponseHead(version: head.version, status: .continue)
        context.writeAndFlush(self.wrapOutboundOut(.head(goOn)), promise: nil)
      }
    case .body(var piece):
      if self.body.readableBytes + piece.readableBytes > self.bodyLimitBytes {
        self.isTooLarge = true
        self.body = ByteBuffer()
      } else if !self.isTooLarge {
        self.body.writeBuffer(&piece)
      }
    case .end:
      guard let head = self.head else { return }
      self.head = nil
      self.answer(head, context: context)
    }
  }

  private func answer(_ head: HTTPRequestHead, context: ChannelHandlerContext) {
    guard !self.isTooLarge else {
      let reply = HTTPReply(status: 413, text: "the request is larger than \(self.bodyLimitBytes) bytes\n")
      self.write(reply, for: head, isLast: true, context: context)
      return
    }
    let request = HTTPRequest(
      method: head.method.rawValue, path: head.uri, headers: head.headers, body: self.body)
    self.body = ByteBuffer()
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
      let writer = HTTPBodyWriter(HTTP1BodySink(context: context, isLast: isLast))
      self.writer = writer
      context.flush()
      return stream(writer)
    }
    if request.method != .HEAD {
      context.write(self.wrapOutboundOut(.body(.byteBuffer(reply.body))), promise: nil)
    }
    let promise = isLast ? context.eventLoop.makePromise(of: Void.self) : nil
    promise?.futureResult.assumeIsolated().whenComplete { _ in context.close(promise: nil) }
    context.writeAndFlush(self.wrapOutboundOut(.end(nil)), promise: promise)
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
    if context.channel.isWritable { self.writer?.onWritable?() }
    context.fireChannelWritabilityChanged()
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if event is ChannelShouldQuiesceEvent { self.writer?.onDrain?() }
    context.fireUserInboundEventTriggered(event)
  }

  func channelInactive(context: ChannelHandlerContext) {
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
