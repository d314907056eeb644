// The work behind a mirror: list, watch from there on, and begin again where the watch broke off.

import NIOCore
import Protocol
import Wire

extension Portcullis {
  /// Keeps a mirror of some keys while `body` runs.
  ///
  /// The mirror's first view is there when `body` begins. Node failures and changes of leader are ridden out; when the
  /// history that it needs was compacted, it lists again, and no view in between is one that never existed.
  /// - Parameters:
  ///   - span: which keys. They are held in memory.
  ///   - checking: how often it is confirmed that a quiet mirror misses nothing.
  /// - Throws: `ClientError` when the first listing fails, and what `body` throws.
  public func withMirror<Result: Sendable>(
    of span: KeySpan, checking: Duration = .seconds(1),
    _ body: @escaping @Sendable (Mirror) async throws -> Result
  ) async throws -> Result {
    let mirror = Mirror(span: span)
    let feed = MirrorFeed(client: self, mirror: mirror, interval: checking)
    do throws(RPCStatus) { try await feed.list() } catch { throw ClientError(error, during: "listing what to mirror") }
    return try await withThrowingTaskGroup(of: Result?.self) { group in
      group.addTask {
        await feed.run()
        return nil
      }
      group.addTask { try await body(mirror) }
      defer {
        group.cancelAll()
        mirror.end()
      }
      while let next = try await group.next() {
        if let result = next { return result }
      }
      throw CancellationError()
    }
  }
}

struct MirrorFeed: Sendable {
  let client: Portcullis
  let mirror: Mirror
  let interval: Duration

  /// Pages of a listing. All of them are at the first one's revision.
  private static let keysPerPage: Int64 = 5000
  private static let patience: Duration = .milliseconds(100)

  /// Until the task is cancelled.
  func run() async {
    var isListed = true
    while !Task.isCancelled {
      do throws(RPCStatus) {
        if !isListed { try await list() }
        isListed = try await watch()
      } catch {
        // A node that has lost its leader, or its own life, says so; the next endpoint is tried.
      }
      mirror.follow(false)
      try? await Task.sleep(for: Self.patience)
    }
  }

  /// Reads everything at one revision.
  func list() async throws(RPCStatus) {
    var request = Etcdserverpb_RangeRequest()
    request.key = .init(mirror.span.start)
    request.rangeEnd = .init(mirror.span.end)
    request.limit = Self.keysPerPage
    let asked = ContinuousClock.now
    var pairs: [KeyValue] = []
    var header: Etcdserverpb_ResponseHeader?
    while true {
      let page = try await client.call(
        RPCPath.KV.range, request, as: Etcdserverpb_RangeResponse.self, isRepeatable: true)
      if header == nil {
        header = page.header
        request.revision = page.header.revision
      }
      pairs += page.kvs.map(KeyValue.init)
      guard page.more, let last = page.kvs.last else { break }
      // The smallest key above the last one.
      request.key = last.key + [0]
    }
    if let header { mirror.replace(pairs, header: header, asked: asked) }
  }

  /// Follows the store from the mirror's revision on.
  /// - Returns: false when the history is gone and everything must be listed again.
  private func watch() async throws(RPCStatus) -> Bool {
    var create = Etcdserverpb_WatchRequest()
    create.createRequest.key = .init(mirror.span.start)
    create.createRequest.rangeEnd = .init(mirror.span.end)
    create.createRequest.startRevision = mirror.view.revision + 1
    let stream = try await client.open(
      RPCPath.Watch.watch, create, as: Etcdserverpb_WatchResponse.self, metadata: [("hasleader", "true")])
    let checks = MirrorChecks()
    let result: Result<Bool, RPCStatus> = await withTaskGroup(of: Result<Bool, RPCStatus>?.self) { group in
      group.addTask {
        await check(stream, checks)
        return nil
      }
      group.addTask { await read(stream, checks) }
      defer { group.cancelAll() }
      while let next = await group.next() {
        if let result = next { return result }
      }
      return .success(true)
    }
    return try result.get()
  }

  private func read(
    _ stream: OpenStream<Etcdserverpb_WatchResponse>, _ checks: MirrorChecks
  ) async -> Result<Bool, RPCStatus> {
    do {
      for try await answer in stream.messages {
        if answer.canceled {
          return answer.compactRevision > 0
            ? .success(false) : .failure(RPCStatus(.unavailable, "the watch was cancelled: \(answer.cancelReason)"))
        }
        guard mirror.isOf(cluster: answer.header.clusterID) else { return .success(false) }
        if answer.created {
          mirror.follow(true)
        } else if answer.events.isEmpty {
          mirror.confirm(answer.header.revision, asked: checks.confirmed(by: answer.header.revision))
        } else {
          mirror.apply(answer.events)
        }
      }
      return .failure(RPCStatus(.unavailable, "the server ended the watch"))
    } catch {
      let status = error as? RPCStatus ?? RPCStatus(.unavailable, "\(error)")
      return .failure(status)
    }
  }

  /// Asks the cluster, and not the node alone, which revision is the newest, and then the stream whether it is there.
  private func check(_ stream: OpenStream<Etcdserverpb_WatchResponse>, _ checks: MirrorChecks) async {
    var newest = Etcdserverpb_RangeRequest()
    newest.key = .init(mirror.span.start)
    newest.countOnly = true
    var progress = Etcdserverpb_WatchRequest()
    progress.progressRequest = .init()
    while !Task.isCancelled {
      let asked = ContinuousClock.now
      do throws(RPCStatus) {
        let answer = try await client.call(
          RPCPath.KV.range, newest, as: Etcdserverpb_RangeResponse.self, isRepeatable: true, timeout: .seconds(5))
        checks.begin(at: asked, revision: answer.header.revision)
        try stream.call.send(progress)
      } catch {
        // The stream will say it better, or the next check succeeds.
      }
      try? await Task.sleep(for: interval)
    }
  }
}
