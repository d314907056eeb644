// Every change of some keys, one by one, over the loss of nodes and leaders. A mirror has the newest state and may skip what
// lay between; this skips nothing, unless the history was compacted, and then it says so.

import Protocol
import Wire

/// What became known of a key.
public enum KeyEvent: Sendable, Hashable {
  /// The key is there: of a listing, before any change.
  case present(KeyValue)
  /// The listing is complete: this many keys, at this revision. All that follows is newer.
  case listed(count: Int, revision: Int64)
  /// The key was put.
  case put(KeyValue)
  /// The key was deleted, at this revision.
  case deleted(key: [UInt8], revision: Int64)
  /// Changes up to this revision were compacted before they could be told. A new listing follows: what was known of keys
  /// that are not in it is not so any more.
  case missed(compacted: Int64)
}

/// The keys of a span and each change of them. Its iterator does the work: it lists, watches, and watches on elsewhere where a
/// node is lost. It ends when its task is cancelled, and with it the call.
public struct KeyEvents: AsyncSequence, Sendable {
  let client: Portcullis
  let span: KeySpan
  let start: Int64?

  /// Not to be shared between tasks.
  public func makeAsyncIterator() -> Iterator { Iterator(client: client, span: span, position: start) }

  /// Where a reader is.
  public struct Iterator: AsyncIteratorProtocol {
    private static let keysPerPage: Int64 = 5000
    private static let patience = Duration.milliseconds(100)

    private let client: Portcullis
    private let span: KeySpan
    /// The first revision that was not told; nil before a listing.
    private var position: Int64?
    private var waiting: [KeyEvent] = []
    private var answers: AsyncThrowingStream<Etcdserverpb_WatchResponse, any Error>.Iterator?

    init(client: Portcullis, span: KeySpan, position: Int64?) {
      (self.client, self.span, self.position) = (client, span, position)
    }

    /// The next event; nil when the task was cancelled.
    /// - Throws: `ClientError` where trying again leads nowhere: the request makes no sense, or is not permitted.
    public mutating func next() async throws -> KeyEvent? {
      while waiting.isEmpty {
        if Task.isCancelled { return nil }
        do {
          try await more()
        } catch let status as RPCStatus {
          answers = nil
          if Task.isCancelled { return nil }
          guard status.mayPass else { throw ClientError(status, during: "watching keys") }
          try? await Task.sleep(for: Self.patience)
        }
      }
      return waiting.removeFirst()
    }

    private mutating func more() async throws {
      guard let revision = position else { return try await list() }
      if answers == nil {
        var create = Etcdserverpb_WatchRequest()
        create.createRequest.key = .init(span.start)
        create.createRequest.rangeEnd = .init(span.end)
        create.createRequest.startRevision = revision
        answers = try await client.open(
          RPCPath.Watch.watch, create, as: Etcdserverpb_WatchResponse.self, metadata: [("hasleader", "true")]
        ).messages.makeAsyncIterator()
      }
      guard let answer = try await answers?.next() else {
        throw RPCStatus(.unavailable, "the server ended the watch")
      }
      try take(answer, since: revision)
    }

    private mutating func take(_ answer: Etcdserverpb_WatchResponse, since revision: Int64) throws(RPCStatus) {
      if answer.canceled {
        answers = nil
        guard answer.compactRevision > 0 else {
          throw RPCStatus(.unavailable, "the watch was cancelled: \(answer.cancelReason)")
        }
        waiting.append(.missed(compacted: answer.compactRevision))
        position = nil
      }
      for event in answer.events where event.kv.modRevision >= revision {
        waiting.append(
          event.type == .delete
            ? .deleted(key: [UInt8](event.kv.key), revision: event.kv.modRevision) : .put(KeyValue(event.kv)))
        position = Swift.max(position ?? 0, event.kv.modRevision + 1)
      }
    }

    /// All pages are of the revision of the first.
    private mutating func list() async throws(RPCStatus) {
      var request = Etcdserverpb_RangeRequest()
      request.key = .init(span.start)
      request.rangeEnd = .init(span.end)
      request.limit = Self.keysPerPage
      var found: [KeyEvent] = []
      while true {
        let page = try await client.call(
          RPCPath.KV.range, request, as: Etcdserverpb_RangeResponse.self, isRepeatable: true)
        if request.revision == 0 { request.revision = page.header.revision }
        found += page.kvs.map { .present(KeyValue($0)) }
        guard page.more, let last = page.kvs.last else { break }
        request.key = last.key + [0]
      }
      position = request.revision + 1
      waiting = found + [.listed(count: found.count, revision: request.revision)]
    }
  }
}

extension Portcullis {
  /// Keys as they are now, and then every change of them, in order.
  /// - Parameter revision: where to begin instead: with the changes of this revision on, without a listing. That is the one
  ///   behind the last which a reader has seen.
  public func events(of span: KeySpan, from revision: Int64? = nil) -> KeyEvents {
    KeyEvents(client: self, span: span, start: revision)
  }

  /// Looks after the connection for readers of streams, which cannot tell a quiet server from one that has vanished: asks
  /// something small now and then, and moves on when there is no answer. Returns when the task is cancelled.
  package func lookAfterConnection(every interval: Duration = .seconds(5)) async {
    while !Task.isCancelled {
      try? await Task.sleep(for: interval)
      var request = Etcdserverpb_RangeRequest()
      request.key = .init([0])
      request.countOnly = true
      request.serializable = true
      do throws(RPCStatus) {
        _ = try await call(
          RPCPath.KV.range, request, as: Etcdserverpb_RangeResponse.self, isRepeatable: true, timeout: interval)
      } catch {
        if error.code == .deadlineExceeded { giveUpConnection() }
      }
    }
  }
}

extension RPCStatus {
  /// Whether another endpoint, or a later moment, may answer otherwise.
  var mayPass: Bool {
    switch code {
    case .invalidArgument, .permissionDenied, .unauthenticated, .unimplemented, .outOfRange: false
    case .cancelled where message == "the client was closed": false
    default: !isTLSFailure
    }
  }
}
