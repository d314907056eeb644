// What is said of a refusal where there is nothing but one line for it: in an error of SQLite's, in one of the library's.

extension Refusal: CustomStringConvertible {
  package var description: String {
    let claims = presented
    let shown = "\(claims.authority), held by \"\(claims.holder)\""
    switch self {
    case .stale(let seen, _):
      return "stale: the scope \"\(claims.scope)\" is at \(seen); presented was \(shown). Acquire it again"
    case .lowerIncarnation(let seen, _):
      return
        "the token is from before the cluster's restore: the scope \"\(claims.scope)\" is at \(seen); presented was "
        + "\(shown). Acquire it again"
    case .otherHolder(let seen, _):
      return "the number is taken: the scope \"\(claims.scope)\" is at \(seen); presented was \(shown)"
    case .otherCluster(let seen, _):
      return
        "the file belongs to the cluster \(ClusterText.format(seen.cluster)), and the token is of "
        + "\(ClusterText.format(claims.cluster)). An operator moves it by adopting the new one"
    case .wrongScope(let bound, _):
      return "the token is of the scope \"\(claims.scope)\", not \"\(bound)\""
    }
  }
}
