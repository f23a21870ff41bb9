//! The subscriber `notifications` and the jobs `welcome_mail` and `login_mail`: what users are told by mail.

use mainstay::Result;
use mainstay::jobs::Context;
use mainstay::route::topology::MAIN;

use crate::events::{LoginMail, OrderCancelled, OrderConfirmed, WelcomeMail};
use crate::worker::Work;

/// A new user.
pub(crate) async fn welcome(job: WelcomeMail, ctx: Context<Work>) -> Result<()> {
    let name = format!("welcome-{}", job.user);
    ctx.state().mails.send(&ctx.state().shop.primary, job.user, &name, "Welcome to the shop").await
}

/// Whoever reads the mails of the address may log in.
pub(crate) async fn login(job: LoginMail, ctx: Context<Work>) -> Result<()> {
    let (name, text) = (format!("login-{}", job.user), format!("Your code is {}", job.code));
    ctx.state().mails.send(&ctx.state().shop.primary, job.user, &name, &text).await
}

/// An order that was confirmed.
pub(crate) async fn confirmed(event: OrderConfirmed, ctx: Context<Work>) -> Result<()> {
    tell(&ctx, event.user, &format!("Your order {} is confirmed", event.order)).await
}

/// An order that was cancelled.
pub(crate) async fn cancelled(event: OrderCancelled, ctx: Context<Work>) -> Result<()> {
    let OrderCancelled { order, user, reason } = event;
    tell(&ctx, user, &format!("Your order {order} is cancelled: {reason}")).await
}

/// Named by the event: a second delivery of it writes the same mail. Each shard counts its own events.
async fn tell(ctx: &Context<Work>, user: i64, text: &str) -> Result<()> {
    let Some(event) = ctx.event() else { return Ok(()) };
    let Work { mails, shop } = ctx.state();
    let name = match ctx.db().name() {
        MAIN => format!("event-{}", event.id.0),
        shard => format!("event-{shard}-{}", event.id.0),
    };
    mails.send(&shop.primary, user, &name, text).await
}
