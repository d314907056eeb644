// Plain HTTP/1 on the same port: metrics, health, JSON. Small requests with small answers; there is no streaming.

package import NIOCore
import NIOHTTP1

package struct HTTPRequest: Sendable {
  package var method: String
  /// The request target as sent, with its query.
  package var path: String
  private var headers: HTTPHeaders
  package var body: ByteBuffer

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

package struct HTTPReply: Sendable {
  package var status: Int
  package var contentType: String
  package var body: ByteBuffer
  package var extraHeaders: [(String, String)]

  package init(status: Int, contentType: String, body: ByteBuffer, extraHeaders: [(String, String)] = []) {
    self.status = status
    self.contentType = contentType
    self.body = body
    self.extraHeaders = extraHeaders
  }

  package init(status: Int, text: String) {
    self.init(status: status, contentType: "text/plain; charset=utf-8", body: ByteBuffer(string: text))
  }
}

/// Answers one HTTP/1 request. Called on the connection's event loop, which is passed for making the future.
package typealias HTTPResponder = @Sendable (HTTPRequest, any EventLoop) -> EventLoopFuture<HTTPReply>

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
    self.responder(request, context.eventLoop).hop(to: context.eventLoop).assumeIsolated().whenComplete { result in
      switch result {
      case .success(let reply):
        self.write(reply, for: head, isLast: !head.isKeepAlive, context: context)
      case .failure(let error):
        self.write(HTTPReply(status: 500, text: "\(error)\n"), for: head, isLast: true, context: context)
      }
    }
  }

  private func write(_ reply: HTTPReply, for request: HTTPRequestHead, isLast: Bool, context: ChannelHandlerContext) {
    var head = HTTPResponseHead(version: request.version, status: HTTPResponseStatus(statusCode: reply.status))
    head.headers.add(name: "content-type", value: reply.contentType)
    head.headers.add(name: "content-length", value: String(reply.body.readableBytes))
    for (name, value) in reply.extraHeaders {
      head.headers.add(name: name, value: value)
    }
    if isLast {
      head.headers.replaceOrAdd(name: "connection", value: "close")
    } else if request.version.major == 1, request.version.minor == 0 {
      head.headers.replaceOrAdd(name: "connection", value: "keep-alive")
    }
    context.write(self.wrapOutboundOut(.head(head)), promise: nil)
    if request.method != .HEAD {
      context.write(self.wrapOutboundOut(.body(.byteBuffer(reply.body))), promise: nil)
    }
    let promise = isLast ? context.eventLoop.makePromise(of: Void.self) : nil
    promise?.futureResult.assumeIsolated().whenComplete { _ in context.close(promise: nil) }
    context.writeAndFlush(self.wrapOutboundOut(.end(nil)), promise: promise)
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    // The protocol error handler in front has already answered what could be answered.
    context.close(promise: nil)
  }
}
