// Why the extension lets a statement fail. These texts become SQLite's error message in whatever language asked, so each
// says what was seen, what was presented and what to do.

import FencingCore
import Tokens

enum FenceError: Error, CustomStringConvertible {
  case noToken
  case notGuarded
  case token(TokenError)
  case shared(scope: String)
  case tokenRequired(scope: String)
  case unknownKey(kid: String)
  case refused(Refusal)
  case attached
  case notSynchronous
  case ownTable(String)
  case damagedKey
  case damagedFloor(scope: String)
  case damagedTrigger
  case sqlite(String)

  var description: String {
    switch self {
    case .noToken: "portcullis_present takes a token as text"
    case .notGuarded:
      "the main database is not guarded, so it has no keys to verify a token with. Guard it: portcullis guard FILE"
    case .token(let error): "\(error)"
    case .shared(let scope): "the token of scope \"\(scope)\" is shared with others: it is for reading"
    case .tokenRequired(let scope):
      "this write needs a token of the scope \"\(scope)\". Acquire it and SELECT portcullis_present(token)"
    case .unknownKey(let kid):
      "the file does not know the key \(kid) that signed the token. If it is the cluster's, run portcullis guard again"
    case .refused(let refusal): "\(refusal)"
    case .attached:
      "a floor is raised in the main database, with nothing attached: attached files do not commit together"
    case .notSynchronous:
      "the token raises the floor, which must not be lost in a power cut. PRAGMA synchronous = FULL, then write again"
    case .ownTable(let name): "the table \(name) is the fence's own: only a token that is verified changes it"
    case .damagedKey: "a key in the table _fence_key is damaged. Run portcullis guard again"
    case .damagedFloor(let scope): "the floor of the scope \"\(scope)\" is damaged, so nothing is written"
    case .damagedTrigger: "a guard trigger is damaged. Run portcullis guard again"
    case .sqlite(let message): message
    }
  }
}
