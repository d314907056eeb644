// Owns the news that a grant was lost: from the cluster the moment that it ends, and from this client's own clock where the
// cluster cannot be reached.
// Must never: take silence for good news. What the cluster does not say in time, the session's deadline does.

import Protocol
import Wire

/// Why authority is over.
public enum AuthorityEnding: Sendable, Hashable, CustomStringConvertible {
  /// The session is over, and with it everything that it held.
  case session(SessionEnding)
  /// The grant alone is: it was released, or handed on. The reason is the cluster's, as the end of a sentence.
  case grant(reason: String)

  /// One clause for people.
  public var description: String {
    switch self {
    case .session(let ending): ending.description
    case .grant(let reason): reason
    }
  }
}

extension Session {
  /// Returns when the grant may not be relied on any more: it was released or handed on, its session has ended, or the
  /// session could not be renewed before its deadline.
  /// - Returns: what happened; nil when the calling task was cancelled before anything did.
  public func waitUntilLost(_ grant: Grant) async -> AuthorityEnding? {
    let (endings, feed) = AsyncStream<AuthorityEnding>.makeStream()
    // No child tasks: one that is connecting ends when it has connected, and the deadline does not wait for that.
    let tasks = [
      Task {
        await waitUntilOver()
        if case .lost(let ending) = current { feed.yield(.session(ending)) }
      },
      Task {
        guard let reason = await news(of: grant) else { return }
        feed.yield(.grant(reason: reason))
      },
    ]
    defer { for task in tasks { task.cancel() } }
    for await ending in endings { return ending }
    return nil
  }

  /// Nil where nothing can be heard: the server does not know the call, or the task was cancelled.
  private func news(of grant: Grant) async -> String? {
    var request = Portcullis_V1_HoldRequest()
    request.scope = grant.scope
    request.number = grant.number
    request.holderLease = grant.mode == .shared ? grant.session : 0
    while !Task.isCancelled {
      do {
        let answers = try await portcullis.answers(
          RPCPath.Authority.hold, to: request, as: Portcullis_V1_HoldResponse.self)
        for try await answer in answers {
          if case .lost(let refusal) = answer.outcome { return refusal.reason }
        }
      } catch let status as RPCStatus where status.code == .unimplemented {
        return nil
      } catch {
        // Another endpoint may know more. The session's own renewals go on meanwhile.
      }
      try? await Task.sleep(for: .milliseconds(100))
    }
    return nil
  }
}
